"""The processes behind stages: starting, watching, carrying tensors."""
