"""How often the audit is right about targets whose answer is known."""
