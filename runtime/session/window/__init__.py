"""A session in a window: loading, playing, what the keys do, and what the HUD says."""
