"""Deadlines under load: shaped loads, an antagonist that takes a core, drift; see `bench`."""
