"""Simulated annealing over the order of all candidates, inside a time box."""

import time
from dataclasses import dataclass

import numpy as np
from numba import njit

from scheduler.annealing.clock import now_ns
from scheduler.annealing.draws import below, unit
from scheduler.slots.chance import Terms
from scheduler.slots.config import SlotConfig
from scheduler.slots.problem import SlotProblem
from scheduler.slots.walk import walk
from scheduler.snapshot import Ints

# An hour: no time box at all, for runs bounded by moves.
_FOREVER_NS = 3_600_000_000_000


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The best order found (indices into the problem), its value, and its best seed's value."""

    order: Ints
    value: float
    seed_value: float
    evaluations: int


class SlotSearch:
    """Anneals one problem after another; repeatable when ``max_moves`` binds, not the clock."""

    def __init__(self, config: SlotConfig) -> None:
        self._config = config
        self._rng = np.array([config.seed], dtype=np.uint64)

    def best(self, problem: SlotProblem, terms: Terms, seeds: Ints) -> SearchResult:
        """Return the best order found, never worth less than the best of ``seeds``, int64[k, n].

        Ends at the time box (overrun by one chunk of moves at most) or after ``max_moves``.
        """
        config = self._config
        deadline_ns = time.monotonic_ns() + int(min(config.time_box_s * 1e9, _FOREVER_NS))
        best = np.empty(len(problem), dtype=np.int64)
        value, seed_value, evaluations = _search(
            seeds,
            best,
            problem.facts,
            problem.atoms,
            terms,
            config.heat,
            config.cooling,
            config.chunk,
            config.max_moves,
            self._rng,
            deadline_ns,
        )
        return SearchResult(best, value, seed_value, evaluations)


@njit(cache=True)
def _search(  # type: ignore[no-untyped-def]
    seeds, best, facts, atoms, terms, heat, cooling, chunk, max_moves, rng, deadline_ns
):
    free_s = np.empty(terms.slots)
    clock = np.empty(2, dtype=np.int64)
    top, seed_value = 0, -np.inf
    for k in range(seeds.shape[0]):
        value = walk(seeds[k], facts, atoms, terms, free_s)
        if value > seed_value:
            top, seed_value = k, value
    order = seeds[top].copy()
    best[:] = order
    worth = np.array([seed_value, seed_value])
    moves = 0
    while moves < max_moves and len(order) > 1 and now_ns(clock) < deadline_ns:
        _anneal(order, best, worth, heat, chunk, rng, facts, atoms, terms, free_s)
        moves += chunk
        heat *= cooling
    return worth[1], seed_value, seeds.shape[0] + moves


@njit(cache=True)
def _move(order, source, target):  # type: ignore[no-untyped-def]
    """Take the candidate at ``source`` out and put it in at ``target``."""
    moved = order[source]
    step = 1 if source < target else -1
    for k in range(source, target, step):
        order[k] = order[k + step]
    order[target] = moved


@njit(cache=True)
def _anneal(order, best, worth, heat, moves, rng, facts, atoms, terms, free_s):  # type: ignore[no-untyped-def]
    """Try so many swaps and insertions; ``worth`` holds the value now and the best one.

    One end of each move lies within the first two rounds of the slots: what comes later is
    planned again before it happens.
    """
    n = order.shape[0]
    front = min(n, 2 * terms.slots)
    for _ in range(moves):
        a, b = below(rng, front), below(rng, n)
        if a == b:
            continue
        insert = below(rng, 2)
        if insert:
            _move(order, b, a)
        else:
            order[a], order[b] = order[b], order[a]
        value = walk(order, facts, atoms, terms, free_s)
        if value >= worth[0] or (heat > 1e-6 and unit(rng) < np.exp((value - worth[0]) / heat)):
            worth[0] = value
            if value > worth[1]:
                worth[1] = value
                best[:] = order
        elif insert:
            _move(order, a, b)
        else:
            order[a], order[b] = order[b], order[a]
