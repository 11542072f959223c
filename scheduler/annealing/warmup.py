"""Compiling ahead of time."""

from scheduler.annealing.config import AnnealConfig
from scheduler.annealing.problem import AnnealProblem
from scheduler.annealing.search import anneal
from scheduler.latency import StepLatency


def warm_up() -> None:
    """Compile the search or load it from numba's cache; call it at start, never in a step.

    Cost: about 5 s the first time on a machine, 50 ms from the cache.
    """
    latency = StepLatency.linear(step_s=1.0)
    problem = AnnealProblem.create(
        prompt_tokens=[1, 1, 1], output_tokens=[1, 2, 3], max_batch=2, latency=latency, e2e_s=1e-3
    )
    anneal(problem, AnnealConfig(max_evaluations=10))
