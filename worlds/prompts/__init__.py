"""Free text to words of a world's vocabulary."""
