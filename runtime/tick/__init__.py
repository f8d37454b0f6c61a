"""What the loop meets in a tick: controls, latch, host probe, aftercare, the threaded way."""
