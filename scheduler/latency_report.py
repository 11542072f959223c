"""How far a latency model is off the steps that were measured."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from scheduler.latency import Floats, StepLatency


@dataclass(frozen=True, slots=True)
class FitReport:
    """Errors of a model on ``steps`` steps: seconds, ``mape`` as a fraction of the step.

    ``p50_s``, ``p90_s``, ``p99_s``: quantiles of the absolute error. ``r2``: the share of the
    variance that the model explains; 0 where all steps took the same time and it is not exact.
    """

    steps: int
    mae_s: float
    mape: float
    p50_s: float
    p90_s: float
    p99_s: float
    r2: float

    @classmethod
    def of(cls, latency: StepLatency, steps: Floats) -> Self:
        """Compare with float64[n, 8], n >= 1: the columns of ``StepWork``, then seconds > 0."""
        return cls.between(latency.seconds_of(steps[:, :7]), steps[:, 7])

    @classmethod
    def between(cls, foretold: Floats, measured: Floats) -> Self:
        """Seconds foretold and measured, float64[n] each, n >= 1, measured > 0."""
        off = foretold - measured
        alike = bool(np.ptp(measured) == 0.0)
        spread = float(((measured - measured.mean()) ** 2).sum())
        p50, p90, p99 = (float(value) for value in np.quantile(np.abs(off), (0.5, 0.9, 0.99)))
        return cls(
            steps=len(measured),
            mae_s=float(np.abs(off).mean()),
            mape=float((np.abs(off) / measured).mean()),
            p50_s=p50,
            p90_s=p90,
            p99_s=p99,
            r2=float(not off.any()) if alike else 1.0 - float((off**2).sum()) / spread,
        )
