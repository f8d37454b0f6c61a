"""Long sessions: an hour of a world with its vital signs, the bank of real statistics, and drift with its remedies."""
