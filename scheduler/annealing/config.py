"""The knobs of the published search."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AnnealConfig:
    """Temperatures and moves as published, and where ours differs.

    The published acceptance is exp(dG / T) with T from 500 down to 20. G is of order 1e-3, so
    that every move is accepted and the walk is random. With ``normalise`` dG is taken relative
    to the start's G in thousandths: at T = 500 a loss of half the value is taken with
    probability 1/e, at T = 20 one of 2 %.

    ``insert`` adds a fourth move, one request to any other place. ``early_exit`` returns the
    order by expected latency unsearched when it keeps every promise, as published; without it
    the search goes on, as G can still rise. ``restarts`` bounds the descents, ``time_box_s``
    the time: it is absolute, checked between temperatures, and should hold ``descents``.
    """

    start_temperature: float = 500.0
    end_temperature: float = 20.0
    decay: float = 0.95
    moves: int = 100
    normalise: bool = True
    insert: bool = True
    early_exit: bool = False
    restarts: int = 1_000
    descents: int = 3
    time_box_s: float = 0.001
    seed: int = 0

    def affordable_decay(self, temperatures: float) -> float:
        """Return the decay with which so many temperatures hold ``descents`` descents."""
        published = math.log(self.end_temperature / self.start_temperature) / math.log(self.decay)
        steps = min(published, max(temperatures / self.descents, 2.0))
        return float((self.end_temperature / self.start_temperature) ** (1 / steps))
