"""Traces: checked event by event, and what tracing costs a tick."""
