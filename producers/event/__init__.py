"""Events: what a service logs, in the form that travels."""
