"""The true optimum of small problems, to judge the search by."""

import time

import numpy as np

from scheduler.annealing.objective import State, Tables, evaluate, new_state, new_tables, value_of
from scheduler.annealing.problem import AnnealProblem
from scheduler.annealing.result import AnnealResult
from scheduler.compiled import compiled
from scheduler.snapshot import Ints

LARGEST = 8


def exhaustive(problem: AnnealProblem) -> AnnealResult:
    """Return the best of all n! orders x 2^(n - 1) cuts within the batch limit; n <= 8.

    The order inside a batch changes nothing, so that each set of requests is tried once as a
    batch: 545,835 states for n = 8, about 30 ms. ``seed_value`` is that of arrival order.
    """
    n, scenarios = problem.output_tokens.shape
    if n > LARGEST:
        raise ValueError(f"{n} requests are too many to try every order; at most {LARGEST}")
    started = time.monotonic()
    if not n:
        nobody = np.empty(0, dtype=np.int64)
        return AnnealResult(nobody, nobody, 0.0, 0.0, 0, 0.0)
    best = new_state(n, scenarios)
    value, evaluations = _enumerate(
        new_tables(problem), new_state(n, scenarios), best, problem.max_batch
    )
    sizes = np.diff(np.flatnonzero(best.starts), append=n)
    seed_value = value_of(problem, *_arrival(problem))
    return AnnealResult(
        order=best.order,
        batch_sizes=sizes,
        value=value,
        seed_value=seed_value,
        evaluations=evaluations,
        elapsed_s=time.monotonic() - started,
    )


def _arrival(problem: AnnealProblem) -> tuple[Ints, Ints]:
    order = np.argsort(-problem.waited_s, kind="stable")
    starts = np.arange(0, len(problem), problem.max_batch)
    return order, np.diff(starts, append=len(problem))


@compiled
def _enumerate(tables: Tables, state: State, best: State, limit: int) -> tuple[float, int]:
    """Walk all ordered partitions: at each depth one subset of those left is the next batch."""
    n = state.order.shape[0]
    left = np.zeros(n + 1, dtype=np.int64)
    batch = np.zeros(n + 1, dtype=np.int64)
    start = np.zeros(n + 1, dtype=np.int64)
    left[0] = (1 << n) - 1
    batch[0] = left[0]
    best_value, states, depth = -1.0, 0, 0
    while depth >= 0:
        chosen = batch[depth]
        if chosen == 0:
            depth -= 1
            continue
        batch[depth] = (chosen - 1) & left[depth]
        end = _place(state, start[depth], chosen)
        if end - start[depth] > limit:
            continue
        rest = left[depth] & ~chosen
        if rest:
            depth += 1
            left[depth], batch[depth], start[depth] = rest, rest, end
            continue
        states += 1
        value = evaluate(tables, state, 0)
        if value > best_value:
            best_value = value
            best.order[:] = state.order
            best.starts[:] = state.starts
    return best_value, states


@compiled
def _place(state: State, start: int, chosen: int) -> int:
    """Write the requests of the bit set ``chosen`` as a batch at ``start``; return its end."""
    at = start
    for request in range(state.order.shape[0]):
        if chosen >> request & 1:
            state.order[at] = request
            state.starts[at] = at == start
            at += 1
    return at
