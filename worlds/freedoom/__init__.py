"""The keep: a place seen from inside, learned from ViZDoom with Freedoom's textures."""
