"""Worlds: each folder holds a `world.yaml`, and what turns it into a `nextframe.runtime.core.World`."""
