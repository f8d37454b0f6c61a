"""A tick as a job of denoise steps over a memory: kernel, graphs, overlap, guards."""
