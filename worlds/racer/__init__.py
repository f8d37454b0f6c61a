"""A race track from above, in pixels: every frame is denoised by a network that watched CarRacing-v3."""
