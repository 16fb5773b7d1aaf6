"""The way to Kafka: what waits for the broker, and the thread that brings it there."""
