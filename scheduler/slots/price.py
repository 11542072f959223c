"""What a second of a slot is worth to the requests that have not arrived yet."""

from collections import deque

import numpy as np

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
        self._seen: deque[tuple[float, float, float]] = deque(maxlen=window)

    def observe(self, arrival_s: Floats, chance: Floats, cost_s: Floats) -> None:
        """Remember new arrivals, float64[n] each."""
        self._seen.extend(zip(arrival_s.tolist(), chance.tolist(), cost_s.tolist(), strict=True))

    def now(self, *, now_s: float, slots: int) -> float:
        """Return kept promises per slot-second. Cost: about 20 us."""
        if len(self._seen) < _FEW:
            return 0.0
        arrival_s, chance, cost_s = np.array(self._seen).T
        rate = len(arrival_s) / max(now_s - float(arrival_s.min()), 1e-3)
        ratio = chance / np.maximum(cost_s, 1e-9)
        best_first = np.argsort(-ratio)
        load = np.cumsum(cost_s[best_first]) * rate / len(arrival_s) / slots
        marginal = int(np.searchsorted(load, 1.0))
        return float(ratio[best_first[marginal]]) if marginal < len(ratio) else 0.0
