"""Measures of a world against its teacher that need no knowledge of either: `nextframe eval WORLD --full`."""
