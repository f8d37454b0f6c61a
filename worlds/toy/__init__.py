"""The smallest world with everything a world has; read `world.py` to learn how to write one."""
