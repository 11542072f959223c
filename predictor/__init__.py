"""Output-length prediction: a distribution of output tokens for each prompt.

Importing this package loads nothing heavy; import what you need from its modules:
``predictor.distribution`` (numpy alone), ``predictor.history``, ``predictor.boosted``.
"""
