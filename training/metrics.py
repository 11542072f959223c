"""How good forecasts of the answer's length are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import kendalltau

from predictor.distribution import LengthDistribution
from predictor.errors import DatasetError


@dataclass(frozen=True, slots=True)
class Scores:
    """Forecasts against one observed length each; ``mae``, ``crps``, ``width_80`` in tokens.

    ``tau_b``: Kendall's rank correlation of the predicted medians with the lengths (0 where
    either is constant). ``mae``: mean distance of the median. ``crps``: exact for the bins.
    ``coverage_90``: share of lengths <= the 90 % quantile. ``coverage_80``, ``width_80``: of
    the interval between the 10 % and the 90 % quantile, both ends included.
    """

    rows: int
    tau_b: float
    mae: float
    crps: float
    coverage_90: float
    coverage_80: float
    width_80: float


def score(forecasts: Sequence[LengthDistribution], lengths: ArrayLike) -> Scores:
    """Compare forecasts with the lengths (tokens, int64[n]) that came."""
    actual = np.asarray(lengths, dtype=np.int64)
    if actual.shape != (len(forecasts),) or not len(forecasts):
        raise DatasetError(
            f"{len(forecasts)} forecasts for lengths of shape {actual.shape}: "
            "give one length per forecast, and at least one"
        )
    low, median, high = np.array([f.quantiles((0.1, 0.5, 0.9)) for f in forecasts]).T
    return Scores(
        rows=len(forecasts),
        tau_b=rank_correlation(median, actual),
        mae=float(np.abs(median - actual).mean()),
        crps=float(np.mean([float(f.crps(n)) for f, n in zip(forecasts, actual, strict=True)])),
        coverage_90=float((actual <= high).mean()),
        coverage_80=float(((low <= actual) & (actual <= high)).mean()),
        width_80=float((high - low).mean()),
    )


def rank_correlation(predicted: ArrayLike, actual: ArrayLike) -> float:
    """Kendall tau-b; 0 where either side is constant, since that ranks nothing."""
    left, right = np.asarray(predicted), np.asarray(actual)
    if np.ptp(left) == 0 or np.ptp(right) == 0:
        return 0.0
    return float(kendalltau(left, right).statistic)
