"""The simulator that taught the drive world, and its pictures."""
