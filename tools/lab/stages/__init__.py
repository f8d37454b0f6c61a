"""Measuring a generator whose layers run in several processes. Programs; nothing imports them."""
