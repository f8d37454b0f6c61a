"""The experiments of an audit."""
