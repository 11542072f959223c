"""Simulated annealing over the order of all candidates, inside a time box."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from scheduler.slots.chance import Terms
from scheduler.slots.config import SlotConfig
from scheduler.slots.problem import SlotProblem
from scheduler.slots.walk import walk
from scheduler.snapshot import Ints


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
        self._state = np.array([2 * config.seed + 1], dtype=np.uint64)

    def best(self, problem: SlotProblem, terms: Terms, seeds: Sequence[Ints]) -> SearchResult:
        """Return the best order found; never worth less than the best of ``seeds``.

        Ends at the time box (overrun by one chunk of moves at most) or after ``max_moves``.
        """
        config = self._config
        deadline_s = time.perf_counter() + config.time_box_s
        facts, atoms, free_s = problem.facts, problem.atoms, np.empty(problem.slots)
        values = [walk(seed, facts, atoms, terms, free_s) for seed in seeds]
        top = int(np.argmax(values))
        order, best = seeds[top].copy(), seeds[top].copy()
        worth = np.array([values[top], values[top]])
        heat, moves = config.heat, 0
        while moves < config.max_moves and len(order) > 1 and time.perf_counter() < deadline_s:
            _anneal(
                order, best, worth, heat, config.chunk, self._state, facts, atoms, terms, free_s
            )
            moves += config.chunk
            heat *= config.cooling
        return SearchResult(best, float(worth[1]), float(values[top]), len(seeds) + moves)


@njit(cache=True, nogil=True)
def _move(order, source, target):  # type: ignore[no-untyped-def]
    """Take the candidate at ``source`` out and put it in at ``target``."""
    moved = order[source]
    step = 1 if source < target else -1
    for k in range(source, target, step):
        order[k] = order[k + step]
    order[target] = moved


@njit(cache=True, nogil=True)
def _anneal(order, best, worth, heat, moves, state, facts, atoms, terms, free_s):  # type: ignore[no-untyped-def]
    """Try so many swaps and insertions; ``worth`` holds the value now and the best one.

    One end of each move lies within the first two rounds of the slots: what comes later is
    planned again before it happens. xorshift64 draws the moves.
    """
    n = order.shape[0]
    front = min(n, 2 * terms.slots)
    word = state[0]
    for _ in range(moves):
        word ^= word << np.uint64(13)
        word ^= word >> np.uint64(7)
        word ^= word << np.uint64(17)
        a = int(word % np.uint64(front))
        b = int((word >> np.uint64(20)) % np.uint64(n))
        if a == b:
            continue
        insert = (word >> np.uint64(40)) & np.uint64(1)
        if insert:
            _move(order, b, a)
        else:
            order[a], order[b] = order[b], order[a]
        value = walk(order, facts, atoms, terms, free_s)
        uniform = ((word >> np.uint64(41)) & np.uint64(0xFFFFF)) / 1048576.0
        if value >= worth[0] or (heat > 1e-6 and uniform < np.exp((value - worth[0]) / heat)):
            worth[0] = value
            if value > worth[1]:
                worth[1] = value
                best[:] = order
        elif insert:
            _move(order, a, b)
        else:
            order[a], order[b] = order[b], order[a]
    state[0] = word
