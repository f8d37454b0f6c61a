"""How fast training is, as a table of machines and settings."""
