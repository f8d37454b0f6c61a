"""How the circuit was trained: data, tokenizer, dynamics, export."""
