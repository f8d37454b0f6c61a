"""The keep's plan, ViZDoom as its game, and a numpy twin of the game's movement."""
