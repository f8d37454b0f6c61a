"""Worlds: each folder holds a `world.yaml`, and what turns it into a `runtime.core.World`."""
