"""Measures of a world beside its teacher."""
