"""A road course seen from behind the car."""
