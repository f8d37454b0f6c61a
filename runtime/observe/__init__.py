"""Telemetry, metrics, causes of misses, traces and the report."""
