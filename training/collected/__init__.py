"""Lengths of answers that were measured with ``slotwise collect`` and ship with the package.

One file per model, ``NAME.csv.gz``, keyed by ShareGPT conversation id: the first turns are the
prompts, whose text comes from the data set. Rebuilt by ``benchmarks/collect_lengths.py``.
"""
