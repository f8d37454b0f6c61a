"""What every part of a training run shares: its plan, its folder, its end, what it says. Needs no torch."""
