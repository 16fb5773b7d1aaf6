"""The I/O around the core: Kafka, files, state, receivers, the web endpoints and the command line."""
