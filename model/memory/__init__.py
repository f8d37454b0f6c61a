"""Rolling keys and values: a ring with sinks, written only at commit, read by age."""
