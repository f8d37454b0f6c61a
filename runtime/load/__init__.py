"""Synthetic load on a world: shapes of extra cost, for deadline tests."""
