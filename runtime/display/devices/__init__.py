"""Keyboards by place, pads, wheels and sticks: what SDL knows of them, as the names of controls."""
