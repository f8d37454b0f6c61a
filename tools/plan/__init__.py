"""The planner: which stage layout to rent or build, before anybody does. docs/plan.md tells the whole of it."""
