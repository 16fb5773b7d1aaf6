"""What an attacker's log line or a careless rule can ask of a worker."""
