"""The engine: time, deadlines, the loop, presenters, telemetry, replay and the command line."""
