"""`nextframe train`: from a game, videos or recordings to a world folder that plays."""
