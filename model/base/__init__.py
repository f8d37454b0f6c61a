"""Checkpoints, devices and addressed noise: what every network stands on."""
