"""Kafka: topics, sources, sinks and state in changelogs."""
