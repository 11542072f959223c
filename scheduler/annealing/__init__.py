"""The published scheduler: simulated annealing over static batches (arXiv 2504.14966)."""
