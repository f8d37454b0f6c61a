"""From clips to networks."""
