"""What a second of a slot is worth to the requests that have not arrived yet."""

import numpy as np
from numba import njit

from scheduler.snapshot import Floats

_FEW = 8


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

    def now(self, *, now_s: float, slots: int) -> float:
        """Return kept promises per slot-second. Cost: 5 us, compiled."""
        if self._count < _FEW:
            return 0.0
        return float(_marginal_ratio(self._seen[: self._count], now_s, slots))


@njit(cache=True)
def _marginal_ratio(seen, now_s, slots):  # type: ignore[no-untyped-def]
    """The ratio of the first request, best first, that no longer fits the slots; else 0."""
    rate = len(seen) / max(now_s - seen[:, 0].min(), 1e-3)
    ratio = seen[:, 1] / np.maximum(seen[:, 2], 1e-9)
    load = 0.0
    for i in np.argsort(-ratio):
        load += seen[i, 2] * rate / len(seen) / slots
        if load >= 1.0:
            return ratio[i]
    return 0.0
