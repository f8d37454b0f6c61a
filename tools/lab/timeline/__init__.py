"""Going back in time: what it costs to keep and to return."""
