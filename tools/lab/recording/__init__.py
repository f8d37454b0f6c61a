"""Recordings: what one costs a tick, and the golden ones that tests replay."""
