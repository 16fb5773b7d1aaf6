"""Receivers: what carries a notification to people."""
