"""Every order and every cut: the reference for small instances (section 4), compiled."""

import numpy as np
from numba import njit

from scheduler.annealing.objective import evaluate
from scheduler.annealing.problem import BatchProblem
from scheduler.annealing.search import AnnealResult
from scheduler.snapshot import Ints

MAX_REQUESTS = 8


def exhaustive(problem: BatchProblem) -> AnnealResult:
    """Return the best of all n! orders and 2^(n-1) cuts within the batch limit; n <= 8.

    Cost: some seconds at n = 8. Raises ``ValueError`` for larger instances.
    """
    n = len(problem)
    if not 1 <= n <= MAX_REQUESTS:
        raise ValueError(f"{n} requests: exhaustive search takes 1 to {MAX_REQUESTS}")
    order, sizes = np.arange(n), np.zeros(n, dtype=np.int64)
    best, batches, tried = _search(order, sizes, problem.max_batch, problem.arrays())
    return AnnealResult(order, sizes[:batches].copy(), best, best, tried, 0.0)


@njit(cache=True, nogil=True)
def _cut(n, bits, max_batch, sizes):  # type: ignore[no-untyped-def]
    """Batch sizes of the cut whose bit k says whether a batch ends after position k."""
    batches, size = 0, 0
    for k in range(n):
        size += 1
        if size > max_batch:
            return 0
        if k == n - 1 or (bits >> k) & 1:
            sizes[batches] = size
            batches += 1
            size = 0
    return batches


@njit(cache=True, nogil=True)
def _search(best_order, best_sizes, max_batch, arrays):  # type: ignore[no-untyped-def]
    """Walk all orders by Heap's algorithm; leaves the best plan in the arrays handed in."""
    n = best_order.shape[0]
    order, sizes = np.arange(n), np.zeros(n, dtype=np.int64)
    turns = np.zeros(n, dtype=np.int64)
    best, best_batches, tried = -1.0, 0, 0
    depth = 0
    fresh = True
    while True:
        if fresh:
            for bits in range(1 << (n - 1)):
                batches = _cut(n, bits, max_batch, sizes)
                if batches == 0:
                    continue
                tried += 1
                value, _kept = evaluate(order, sizes, batches, *arrays)
                if value > best:
                    best, best_batches = value, batches
                    best_order[:], best_sizes[:] = order, sizes
            fresh = False
        if depth >= n:
            return best, best_batches, tried
        if turns[depth] < depth:
            other = 0 if depth % 2 == 0 else turns[depth]
            order[other], order[depth] = order[depth], order[other]
            turns[depth] += 1
            depth = 0
            fresh = True
        else:
            turns[depth] = 0
            depth += 1


def check_plan(problem: BatchProblem, order: Ints, sizes: Ints) -> bool:
    """Whether order and sizes are a plan of this problem."""
    return (
        sorted(order.tolist()) == list(range(len(problem)))
        and int(sizes.sum()) == len(problem)
        and bool((sizes >= 1).all())
        and bool((sizes <= problem.max_batch).all())
    )
