"""CarRacing-v3, the game that taught this world, and who drives it."""
