"""The orders from which the search starts: simple rules, each right in some situation."""

import numpy as np

from scheduler.slots.problem import Fact, SlotProblem
from scheduler.snapshot import Floats, Ints

_FAR_S = 1e9


def seed_orders(
    problem: SlotProblem,
    *,
    chance: Floats,
    cost_s: Floats,
    index: Floats,
    price: float,
    previous: Ints,
) -> list[Ints]:
    """Index orders, int64[n] each, into the problem.

    By index, with preemption and without; the promising ones by deadline; arrival; shortest
    first; and the previous plan (``previous``: handles) with newcomers where their index puts
    them.
    """
    n, running = len(problem), problem.running
    kept, waiting = np.arange(running), np.arange(running, n)
    by_index = np.argsort(-index, kind="stable")
    due_s = np.minimum(problem.facts[:, Fact.TTFT_DUE_S], problem.facts[:, Fact.E2E_DUE_S])
    promising = (chance > 0) & (chance >= price * cost_s)
    urgent = np.lexsort((-index[waiting], np.where(promising[waiting], due_s[waiting], _FAR_S)))
    oldest = np.argsort(-problem.waited_s[waiting], kind="stable")
    shortest = np.argsort(cost_s[waiting], kind="stable")
    return [
        by_index,
        np.concatenate([kept, by_index[by_index >= running]]),
        np.concatenate([kept, waiting[urgent]]),
        np.concatenate([kept, waiting[shortest]]),
        np.concatenate([kept, waiting[oldest]]),
        _patched(problem, by_index, previous),
    ]


def _patched(problem: SlotProblem, by_index: Ints, previous: Ints) -> Ints:
    """The previous order, with newcomers where their index puts them."""
    index_rank = np.empty(len(problem), dtype=np.int64)
    index_rank[by_index] = np.arange(len(problem))
    old_rank = {handle: rank for rank, handle in enumerate(previous.tolist())}
    ranks = [
        old_rank.get(handle, rank)
        for handle, rank in zip(problem.handle.tolist(), index_rank.tolist(), strict=True)
    ]
    patched: Ints = np.lexsort((index_rank, np.array(ranks, dtype=np.int64)))
    return patched
