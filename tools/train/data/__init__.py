"""Where training data comes from: games, videos, recordings."""
