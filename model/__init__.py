"""Networks, memory, samplers and checkpoints. Knows torch and numpy; knows no clock, no window and no YAML."""
