"""Sources of actions: keyboard, mouse and gamepad, scripts, recordings, bots. One `Action` a tick, quantised once."""
