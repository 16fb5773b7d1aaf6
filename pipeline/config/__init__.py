"""The configuration: what can be written, and how it is read."""
