"""The pytest plugin `deadline_session`."""
