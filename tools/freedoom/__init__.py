"""The game behind the freedoom world: ViZDoom with Freedoom's assets, its explorer, its recipe and its measures."""
