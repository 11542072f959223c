"""Simulated annealing over the order of all candidates, inside a time box."""

import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from scheduler.annealing.clock import now_ns
from scheduler.annealing.draws import Words, below, unit
from scheduler.compiled import compiled, inlined
from scheduler.slots.chance import Terms
from scheduler.slots.config import SlotConfig
from scheduler.slots.problem import SlotProblem
from scheduler.slots.regret import PRICE_SHARES, TICKS_AHEAD, delay_price, regret_order
from scheduler.slots.seeds import restricted, shortlist
from scheduler.slots.timetable import Timetable
from scheduler.slots.walk import walk
from scheduler.snapshot import Floats, Ints

# For so many candidates one order is built by regret whatever the clock says (under 0.5 ms).
_ALWAYS_BUILT = 600
# What building takes for each candidate and turn: by this the first is judged, the next are timed.
_BUILD_NS = 2.0

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

    def deadline_ns(self, candidates: int) -> int:
        """When a plan begun now for so many has to be made, on the monotonic clock."""
        config = self._config
        box_s = config.time_box_s + candidates * config.time_box_each_s
        box_s = min(box_s, config.time_box_most_s)
        return time.monotonic_ns() + int(min(box_s * 1e9, _FOREVER_NS))

    def best(
        self, problem: SlotProblem, terms: Terms, seeds: Ints, *, deadline_ns: int
    ) -> SearchResult:
        """Return the best order found, never worth less than the best of ``seeds``, int64[k, n].

        Only who stands near a front of some seed is ordered anew; the others follow as in the
        first seed. Ends at ``deadline_ns`` (overrun by one chunk of moves at most, or one order
        built) or after ``max_moves``.
        """
        config = self._config
        chosen = shortlist(seeds, problem.running, problem.slots)
        table = Timetable.of(problem, terms, chosen=chosen)
        best = np.empty(len(chosen), dtype=np.int64)
        value, seed_value, evaluations = _search(
            restricted(seeds, chosen),
            best,
            table,
            terms,
            (config.heat, config.cooling, config.chunk, config.max_moves),
            self._rng,
            deadline_ns,
        )
        return SearchResult(_in_full(best, chosen, seeds[0]), value, seed_value, evaluations)


class _Floor(NamedTuple):
    """What :func:`scheduler.slots.walk.walk` takes beside the order."""

    table: Timetable
    terms: Terms
    free: Floats
    turns: Ints


@compiled
def _in_full(best: Ints, chosen: Ints, others: Ints) -> Ints:
    """The ``chosen`` in their best order, then the rest as they stand in ``others``."""
    n = others.shape[0]
    is_chosen = np.zeros(n, dtype=np.bool_)
    is_chosen[chosen] = True
    order = np.empty(n, dtype=np.int64)
    order[: len(chosen)] = chosen[best]
    order[len(chosen) :] = others[~is_chosen[others]]
    return order


@compiled
def _search(
    seeds: Ints,
    best: Ints,
    table: Timetable,
    terms: Terms,
    schedule: tuple[float, float, int, int],
    rng: Words,
    deadline_ns: int,
) -> tuple[float, float, int]:
    """``schedule``: heat, cooling, chunk and most moves."""
    heat, cooling, chunk, max_moves = schedule
    n = seeds.shape[1]
    free = np.empty((2, len(table.cell_of)))
    turns = np.empty(n, dtype=np.int64)
    clock = np.empty(2, dtype=np.int64)
    seed_value = -np.inf
    for k in range(seeds.shape[0]):
        value, _ = walk(seeds[k], table, terms, free, turns)
        if value > seed_value:
            best[:], seed_value = seeds[k], value
    price = delay_price(best, table, terms, free, turns)
    order = np.empty(n, dtype=np.int64)
    top = seed_value
    built = 0
    # The first is worth more than all the annealing that its time would buy.
    sure = 1 if n <= _ALWAYS_BUILT else 0
    _, seen = walk(best, table, terms, free, turns)
    took_ns = _BUILD_NS * n * (seen + table.worth.shape[1])
    while built < len(PRICE_SHARES) and n > 1:
        begun_ns = now_ns(clock)
        # What has begun is not interrupted: it has to fit into what is left.
        if built >= sure and begun_ns + took_ns > deadline_ns:
            break
        regret_order(order, table, terms, price * PRICE_SHARES[built], TICKS_AHEAD[built])
        took_ns = now_ns(clock) - begun_ns
        value, _ = walk(order, table, terms, free, turns)
        if value > top:
            best[:], top = order, value
        built += 1
    order[:] = best
    worth = np.array([top, top])
    floor = _Floor(table, terms, free, turns)
    moves = 0
    while moves < max_moves and n > 1 and now_ns(clock) < deadline_ns:
        _anneal(order, best, worth, heat, chunk, rng, floor)
        moves += chunk
        heat *= cooling
    return worth[1], seed_value, seeds.shape[0] + built + moves


@compiled
def _move(order: Ints, source: int, target: int) -> None:
    """Take the candidate at ``source`` out and put it in at ``target``."""
    moved = order[source]
    step = 1 if source < target else -1
    for k in range(source, target, step):
        order[k] = order[k + step]
    order[target] = moved


@compiled
def _anneal(
    order: Ints, best: Ints, worth: Floats, heat: float, moves: int, rng: Words, floor: _Floor
) -> None:
    """Try so many swaps and insertions, both ways; ``worth`` is the value now and the best one.

    One end of each move lies within the first two rounds of the slots, the other within what
    has a turn in the window, or not far behind it: the rest is not looked at.
    """
    table, terms, free, turns = floor
    _, seen = walk(order, table, terms, free, turns)
    front = min(len(order), 2 * terms.slots)
    reach = max(min(len(order), seen + seen // 4 + 1), 2)
    for _ in range(moves):
        a, b, kind = below(rng, front), below(rng, reach), below(rng, 3)
        if a == b:
            continue
        _apply(order, a, b, kind)
        value, _ = walk(order, table, terms, free, turns)
        if value >= worth[0] or (heat > 1e-6 and unit(rng) < np.exp((value - worth[0]) / heat)):
            worth[0] = value
            if value > worth[1]:
                worth[1] = value
                best[:] = order
        else:
            _apply(order, a, b, -kind)


@inlined
def _apply(order: Ints, a: int, b: int, kind: int) -> None:
    """Swap (0), bring b to a (1) or a to b (2); -1 and -2 undo the latter."""
    if kind == 0:
        order[a], order[b] = order[b], order[a]
    elif kind in (1, -2):
        _move(order, b, a)
    else:
        _move(order, a, b)
