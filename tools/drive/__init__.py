"""Trains and measures the drive world."""
