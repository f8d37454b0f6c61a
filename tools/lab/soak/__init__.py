"""Long sessions: an hour of a world with its vital signs, and drift with its remedies."""
