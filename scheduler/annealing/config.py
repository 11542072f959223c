"""How the annealing search runs."""

from dataclasses import dataclass
from math import inf
from typing import Self


@dataclass(frozen=True, slots=True)
class AnnealConfig:
    """Settings of one search; :meth:`paper` has those of arXiv 2504.14966, section 5.

    A round cools from ``t_start`` to ``t_min`` by ``decay``, with ``moves_per_temperature``
    moves at each temperature. With ``normalise`` a change of G counts in thousandths of the G
    that the round began with: at T = 100 a loss of a tenth of G is accepted with probability
    1/e. Without it the change counts in promises per second, as published; at the published
    temperatures that accepts everything, a random walk that remembers its best state.

    Beyond the paper: ``rounds`` > 1 begins again from the best state found, and
    ``extended_moves`` adds *jump* (into any batch, or into one of its own), *split* and
    *merge* to squeeze, delay and swap. ``early_exit`` (the paper): when ascending predicted
    latency meets every promise, it is the answer, though G could still rise. The search ends
    with its rounds, at ``time_box_s`` after :func:`~scheduler.annealing.anneal` was called or
    after ``max_evaluations`` of the objective; unless the time box ends it, it is
    deterministic for its ``seed``.
    """

    t_start: float = 200.0
    t_min: float = 10.0
    decay: float = 0.8
    moves_per_temperature: int = 50
    rounds: int = 32
    normalise: bool = True
    extended_moves: bool = True
    early_exit: bool = False
    time_box_s: float = 1e-3
    max_evaluations: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.t_start >= self.t_min > 0:
            raise ValueError("temperatures must keep t_start >= t_min > 0")
        if not 0 < self.decay < 1:
            raise ValueError(f"decay is {self.decay}: it must lie between 0 and 1")
        if self.moves_per_temperature < 1 or self.rounds < 1 or not self.time_box_s > 0:
            raise ValueError("moves_per_temperature, rounds and time_box_s must be positive")
        if self.max_evaluations is not None and self.max_evaluations < 1:
            raise ValueError(f"max_evaluations is {self.max_evaluations}: it must be positive")

    @classmethod
    def paper(cls, *, seed: int = 0, time_box_s: float = inf) -> Self:
        """One published round, 63 temperatures x 100 of the three moves; normalised."""
        return cls(
            t_start=500.0,
            t_min=20.0,
            decay=0.95,
            moves_per_temperature=100,
            rounds=1,
            extended_moves=False,
            early_exit=True,
            seed=seed,
            time_box_s=time_box_s,
        )
