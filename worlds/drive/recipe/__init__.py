"""How the drive world was trained: data, tokenizer, dynamics, export."""
