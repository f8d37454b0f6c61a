"""What can be audited: worlds, Python objects, processes."""
