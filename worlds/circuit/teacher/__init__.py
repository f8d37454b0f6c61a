"""The simulator that taught the circuit, and its pictures."""
