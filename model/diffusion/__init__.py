"""Diffusion over images: noise levels, preconditioning and the sampler whose steps are the ladder's rungs."""
