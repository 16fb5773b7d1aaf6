"""Matching: a rule of the form as one function over an event."""
