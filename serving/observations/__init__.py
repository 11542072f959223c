"""What became of requests: a durable store of observations."""
