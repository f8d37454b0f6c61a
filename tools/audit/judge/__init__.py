"""What was found, what was claimed, and the verdict on each claim; the audit as one JSON document."""
