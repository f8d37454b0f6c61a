"""The steps of the GPU queue."""
