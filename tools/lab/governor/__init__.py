"""Compares ways to choose the quality of a tick, on recorded and shaped costs, without running a network."""
