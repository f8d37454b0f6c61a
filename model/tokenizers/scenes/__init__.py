"""Tokenizers of scenes that are drawn by a camera we wrote: latents are poses, textures are learned."""
