"""Networks that predict the next latent: slots, grids, and the places they read."""
