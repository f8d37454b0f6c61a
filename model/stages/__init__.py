"""A generator whose layers run in several processes."""
