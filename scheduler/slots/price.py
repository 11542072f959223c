"""What a second of a slot is worth to the requests that have not arrived yet."""

from typing import NamedTuple

import numpy as np

from scheduler.compiled import compiled
from scheduler.snapshot import Floats

_FEW = 8


class Demand(NamedTuple):
    """What requests to come will ask of the slots.

    ``price``: kept promises that a slot-second spent on anything else takes away from them.
    ``ratio`` is float64[k], ascending: kept promises per slot-second of each; ``above``
    float64[k + 1]: the share of the slots wanted by those from the k-th on, 0 at the end.
    """

    price: float
    ratio: Floats
    above: Floats


def no_demand(price: float = 0.0) -> Demand:
    """Nobody will come."""
    return Demand(price, np.empty(0), np.zeros(1))


class SlotPrice:
    """The bid price of capacity, learned from recent arrivals.

    Each arrival is remembered with its chance to keep its promise if started at once and the
    slot-seconds it would take. Served from the best ratio down, arrivals at the present rate
    fill the slots up to some request; the ratio of that one is what a slot-second spent on
    anything else takes away from those to come. While the load is below capacity the price is 0.
    """

    def __init__(self, *, window: int = 48) -> None:
        # One row per remembered arrival: when, chance, slot-seconds; the oldest is overwritten.
        self._seen = np.empty((window, 3))
        self._count = 0

    def observe(self, arrival_s: Floats, chance: Floats, cost_s: Floats) -> None:
        """Remember new arrivals, float64[n] each, oldest first."""
        new = np.column_stack((arrival_s, chance, cost_s))[-len(self._seen) :]
        self._seen[(self._count + np.arange(len(new))) % len(self._seen)] = new
        self._count += len(new)

    def now(self, *, now_s: float, slots: int) -> Demand:
        """Expect more of what came of late. Cost: 8 us, compiled."""
        if self._count < _FEW:
            return no_demand()
        return Demand(*_demand(self._seen[: self._count], now_s, slots))


@compiled
def _demand(seen: Floats, now_s: float, slots: int) -> tuple[float, Floats, Floats]:
    """The price is the ratio of the first request, best first, that no longer fits the slots."""
    span_s = max(now_s - seen[:, 0].min(), 1e-3)
    ratio = seen[:, 1] / np.maximum(seen[:, 2], 1e-9)
    order = np.argsort(ratio)
    above = np.zeros(len(seen) + 1)
    price = 0.0
    for k in range(len(seen) - 1, -1, -1):
        above[k] = above[k + 1] + seen[order[k], 2] / span_s / slots
        if above[k] >= 1.0 and above[k + 1] < 1.0:
            price = ratio[order[k]]
    return price, ratio[order], above
