"""Predictions for servers: off the event loop, in batches, with a deadline and a fallback."""
