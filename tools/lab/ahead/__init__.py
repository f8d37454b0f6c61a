"""Guessed input measured: how often a guess is right, what it gains, what a wrong one costs."""
