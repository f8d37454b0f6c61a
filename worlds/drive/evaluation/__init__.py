"""The drive world held against its simulator."""
