"""Explanations: why a rule matches an event or not, for people."""
