"""`tocsin verify-log`: reading a chained topic and saying what is not as the handlers wrote it."""
