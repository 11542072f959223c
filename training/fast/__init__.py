"""Trains the fast path; importing this package loads nothing heavy."""
