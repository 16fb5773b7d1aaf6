"""The differential test: the prefilter and exact evaluation against exact evaluation of every rule."""
