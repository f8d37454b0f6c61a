"""How many denoise steps fit into a tick."""
