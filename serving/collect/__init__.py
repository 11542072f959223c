"""Measures how long an engine's answers are."""
