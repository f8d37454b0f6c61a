"""The planner held against measured runs."""
