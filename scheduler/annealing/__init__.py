"""Simulated annealing of order and batch cuts for one engine instance (arXiv 2504.14966)."""

from scheduler.annealing.config import AnnealConfig
from scheduler.annealing.exhaustive import exhaustive
from scheduler.annealing.objective import value_of
from scheduler.annealing.problem import AnnealProblem
from scheduler.annealing.result import AnnealResult
from scheduler.annealing.search import anneal
from scheduler.annealing.warmup import warm_up

__all__ = [
    "AnnealConfig",
    "AnnealProblem",
    "AnnealResult",
    "anneal",
    "exhaustive",
    "value_of",
    "warm_up",
]
