"""Benches and studies: programs for people who work on nextframe. Not in the wheel."""
