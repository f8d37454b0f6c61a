"""Many sessions of one neural world in shared passes: played by bots, and measured against one at a time."""
