"""Slotwise on a Ray cluster."""
