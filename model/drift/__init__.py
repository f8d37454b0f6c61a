"""Watches latent statistics of a long session, and what may be done about drift."""
