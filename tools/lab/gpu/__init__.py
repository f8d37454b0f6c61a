"""What to do on a machine with a GPU: one queue of checks and measurements, one JSON document. See docs/gpu.md."""
