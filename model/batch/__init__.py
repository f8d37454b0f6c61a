"""Several sessions as rows of one pass."""
