"""The planner: which stage layout to rent or build, before it is done. See docs/plan.md."""
