"""A generator as a `World`: actions to conditions, jobs to ticks, state to snapshots."""
