"""How worlds are trained: what the recipes of all of them share."""
