"""The circuit held against its simulator."""
