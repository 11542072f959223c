"""What one more request is worth to an engine's plan."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit

from scheduler.slots.chance import Terms, worth
from scheduler.slots.config import SlotConfig
from scheduler.slots.price import no_demand
from scheduler.slots.problem import SlotProblem
from scheduler.slots.timetable import Timetable
from scheduler.slots.walk import walk
from scheduler.snapshot import Snapshot


class Prospect(NamedTuple):
    """What becomes of an engine by one more request.

    ``gain``: kept promises it adds to the plan. ``token_wait_s``: the time between two tokens,
    summed over everybody on the engine; it grows with their number and with a slower engine.
    """

    gain: float
    token_wait_s: float


def prospects(snapshots: Sequence[Snapshot], config: SlotConfig | None = None) -> list[Prospect]:
    """What the last of the waiting would do to each engine.

    The others are ordered by their index; the request is tried in front, after 1, 2, 4, ... of
    them and at the end, where it takes nothing from anyone. A gain fades with the time until it
    comes, by 1/e in the mean service time of the slowest engine, the same for all. Cost for
    each: a timetable and one walk for each place, about 0.1 ms with 16 slots and 100 waiting.
    """
    config = config or SlotConfig()
    problems = [SlotProblem.of(snapshot, config) for snapshot in snapshots]
    horizon_s = max(problem.service_s for problem in problems)
    return [
        Prospect(
            gain=_expected_gain(problem, config, horizon_s),
            token_wait_s=len(problem) * problem.token_s,
        )
        for problem in problems
    ]


def best_prospect(found: Sequence[Prospect], *, tolerance: float = 0.1) -> int:
    """Of the engines that gain about as many kept promises, the one with least to wait.

    Plans are estimates: gains closer than ``tolerance`` promises count as equal, and then the
    time between two tokens, summed over everybody on the engine, decides.
    """
    enough = max(prospect.gain for prospect in found) - tolerance
    good = [k for k, prospect in enumerate(found) if prospect.gain >= enough]
    return min(good, key=lambda k: found[k].token_wait_s)


def _expected_gain(problem: SlotProblem, config: SlotConfig, horizon_s: float) -> float:
    terms = Terms.of(problem, config, no_demand())._replace(horizon_s=horizon_s)
    _, _, index = worth(problem, terms)
    newcomer = len(problem) - 1
    order = np.argsort(-index[:newcomer], kind="stable")
    return float(_gain(order, newcomer, Timetable.of(problem, terms), terms))


@njit(cache=True)
def _gain(order, newcomer, table, terms):  # type: ignore[no-untyped-def]
    """The best value with the newcomer anywhere, less the value without it."""
    n = len(order)
    free = np.empty(len(table.cell_of), dtype=np.int64)
    turns = np.empty(n + 1, dtype=np.int64)
    without, _ = walk(order, table, terms, free, turns)
    trial = np.empty(n + 1, dtype=np.int64)
    best = -np.inf
    place = 0
    while place <= n:
        trial[:place] = order[:place]
        trial[place] = newcomer
        trial[place + 1 :] = order[place:]
        value, _ = walk(trial, table, terms, free, turns)
        best = max(best, value)
        if place == n:
            break
        place = min(max(2 * place, 1), n)
    return best - without
