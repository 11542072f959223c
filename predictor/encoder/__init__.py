"""A fine-tuned transformer encoder with a hazard head over log-spaced bins.

Importing this package loads nothing; ``predictor.encoder.predictor`` needs torch and transformers.
"""
