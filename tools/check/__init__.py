"""What a user runs to know a machine or a world: bench, doctor, synctest."""
