"""A snapshot of engines in, a decision with its reasons out."""
