"""The audit: what a target that makes frames really does, measured from outside."""
