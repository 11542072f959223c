"""Workloads and the training of the length predictors."""
