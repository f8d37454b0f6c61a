"""The pipeline of the circuit world: data, tokenizer, dynamics, evaluation, export."""
