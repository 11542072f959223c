"""How the annealing search runs."""

from dataclasses import dataclass
from math import inf
from typing import Self


@dataclass(frozen=True, slots=True)
class AnnealConfig:
    """Settings of one search; the temperatures are those of arXiv 2504.14966, section 5.

    A round cools from ``t_start`` to ``t_min`` by ``decay``, ``moves_per_temperature`` moves
    at each. The published temperatures are far above any change of G = n / t, so that nothing
    is ever refused; with ``normalise`` a change is counted in thousandths of the G the round
    began with (T = 500: half of G is lost with probability 1/e; T = 20: a fiftieth is).

    Beyond the paper: ``rounds`` > 1 begins again from the best state found, at
    ``t_reheat``; ``extended_moves`` adds *jump* (into any batch, or into one of its own),
    *split* and *merge* to squeeze, delay and swap. ``early_exit``: when ascending predicted
    latency meets every promise, it is the answer. The search ends with its rounds, at
    ``time_box_s`` after :func:`~scheduler.annealing.anneal` was called or after
    ``max_evaluations`` of the objective; only the last is the same on every machine.
    """

    t_start: float = 500.0
    t_min: float = 20.0
    t_reheat: float = 200.0
    decay: float = 0.95
    moves_per_temperature: int = 100
    rounds: int = 16
    normalise: bool = True
    extended_moves: bool = True
    early_exit: bool = True
    time_box_s: float = 1e-3
    max_evaluations: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.t_start >= self.t_min > 0 or not self.t_reheat >= self.t_min:
            raise ValueError("temperatures must keep t_start, t_reheat >= t_min > 0")
        if not 0 < self.decay < 1:
            raise ValueError(f"decay is {self.decay}: it must lie between 0 and 1")
        if self.moves_per_temperature < 1 or self.rounds < 1 or not self.time_box_s > 0:
            raise ValueError("moves_per_temperature, rounds and time_box_s must be positive")
        if self.max_evaluations is not None and self.max_evaluations < 1:
            raise ValueError(f"max_evaluations is {self.max_evaluations}: it must be positive")

    @classmethod
    def paper(cls, *, seed: int = 0, time_box_s: float = inf) -> Self:
        """One round of the three published moves (about 6,300), temperatures normalised."""
        return cls(rounds=1, extended_moves=False, seed=seed, time_box_s=time_box_s)
