"""The embedded default world: a racing circuit from above, dreamt by a network that our own simulator taught."""
