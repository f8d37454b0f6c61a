"""Training worlds that are made of pixels: shards of episodes in, weights of a diffusion U-Net out."""
