"""The chain: checking that the records of a topic are those that the handlers wrote."""
