"""Witnesses: what must stand in the raw bytes of every event that a rule matches."""
