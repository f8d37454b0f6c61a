"""The command `nextframe`."""
