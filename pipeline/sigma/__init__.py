"""The rule language: Sigma, from text to a compiled matcher."""
