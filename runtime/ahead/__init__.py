"""Beginning a tick on guessed input."""
