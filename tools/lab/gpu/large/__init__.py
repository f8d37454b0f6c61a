"""A network of Wan 1.3B's size with random weights, for its cost."""
