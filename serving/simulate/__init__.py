"""Policies judged on simulated engines: runs, capacities, validation, recorded profiles."""
