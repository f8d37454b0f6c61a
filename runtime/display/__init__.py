"""Where frames go: window, HUD, video, or nowhere."""
