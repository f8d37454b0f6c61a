"""The freedoom world held against the game."""
