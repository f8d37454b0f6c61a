"""Parts that a session may have: device, stages, drift, guards, ahead."""
