"""How good forecasts of the answer's length are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import kendalltau

from predictor.distribution import LengthDistribution
from predictor.errors import DatasetError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

_LEVELS = np.arange(0.1, 0.95, 0.1)
# Places of the 10 %, 50 % and 90 % quantile among the levels.
_LOW, _MEDIAN, _HIGH = 0, 4, 8


@dataclass(frozen=True, slots=True)
class Scores:
    """Forecasts against one or several observed lengths each; distances in tokens.

    ``tau_b``: Kendall's rank correlation of the predicted medians with one sample of each
    prompt, averaged over the samples (0 where either side is constant); ``tau_b_mean``: with
    the prompts' mean lengths. ``mae``: mean distance of the median from a sample;
    ``mae_mean``: of the predicted mean from the prompt's mean. ``crps``: exact for the bins.
    ``pinball``: mean over the levels 10 %, ..., 90 %. ``coverage_90``: share of samples <= the
    90 % quantile. ``coverage_80``, ``width_80``: of the interval between the 10 % and the 90 %
    quantile, both ends included.
    """

    rows: int
    tau_b: float
    tau_b_mean: float
    mae: float
    mae_mean: float
    crps: float
    pinball: float
    coverage_90: float
    coverage_80: float
    width_80: float


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What each forecast said and what came; from these every score follows.

    ``samples`` is int64[n, S] with 0 where there is none, ``crps`` float64[n, S],
    ``quantiles`` float64[n, S or 1, 9] and ``means`` float64[n, S or 1] of the forecast (one per
    sample where each is judged by a forecast of its own).
    """

    samples: Ints
    quantiles: Floats
    means: Floats
    crps: Floats

    @property
    def seen(self) -> Mask:
        """bool[n, S]: samples that are there."""
        return np.asarray(self.samples > 0)

    def where(self, rows: NDArray[np.bool_] | Ints) -> "Judged":
        """Some of the rows."""
        return Judged(self.samples[rows], self.quantiles[rows], self.means[rows], self.crps[rows])

    def scores(self) -> Scores:
        """All scores; samples count alike. Raises ``DatasetError`` when there is none."""
        seen, samples = self.seen, self.samples
        if not seen.any():
            raise DatasetError("no length to judge by: give at least one below the cap")
        low, median, high = (self.quantiles[..., i] for i in (_LOW, _MEDIAN, _HIGH))
        some = seen.any(axis=1)
        truth = samples.sum(axis=1)[some] / seen.sum(axis=1)[some]
        rows = np.arange(len(samples))
        told = np.broadcast_to(median, samples.shape)[rows, seen.argmax(axis=1)][some]
        means = np.broadcast_to(self.means, samples.shape)
        return Scores(
            rows=len(samples),
            tau_b=self._tau_b(median),
            tau_b_mean=rank_correlation(told, truth),
            mae=_over(np.abs(median - samples), seen),
            mae_mean=float(np.abs(_row_means(means, seen)[some] - truth).mean()),
            crps=_over(self.crps, seen),
            pinball=_over(_pinball(self.quantiles, samples), seen),
            coverage_90=_over(samples <= high, seen),
            coverage_80=_over((low <= samples) & (samples <= high), seen),
            width_80=_over(np.broadcast_to(high - low, samples.shape), seen),
        )

    def _tau_b(self, median: Floats) -> float:
        medians, seen = np.broadcast_to(median, self.samples.shape), self.seen
        columns = [s for s in range(self.samples.shape[1]) if seen[:, s].any()]
        values = [
            rank_correlation(medians[seen[:, s], s], self.samples[seen[:, s], s]) for s in columns
        ]
        return float(np.mean(values))


def judge(forecasts: Sequence[LengthDistribution], lengths: ArrayLike) -> Judged:
    """Hold forecasts against the lengths that came: tokens, int64[n] or int64[n, S], 0 for none."""
    samples = np.asarray(lengths, dtype=np.int64)
    if samples.shape[:1] != (len(forecasts),) or not len(forecasts):
        raise DatasetError(
            f"{len(forecasts)} forecasts for lengths of shape {samples.shape}: "
            "give one length per forecast, and at least one"
        )
    samples = samples.reshape(len(forecasts), -1)
    return Judged(
        samples=samples,
        quantiles=np.array([f.quantiles(_LEVELS) for f in forecasts], dtype=float)[:, None, :],
        means=np.array([f.mean for f in forecasts])[:, None],
        crps=np.array([f.crps(row) for f, row in zip(forecasts, samples, strict=True)]),
    )


def score(forecasts: Sequence[LengthDistribution], lengths: ArrayLike) -> Scores:
    """:func:`judge`, summed up."""
    return judge(forecasts, lengths).scores()


def noise_ceiling(samples: Ints) -> Judged:
    """Each sample judged by the prompt's other samples (leave one out): what noise allows.

    ``samples`` is int64[n, S], 0 for none; a row with one sample forecasts nothing and is left
    out of the sums.
    """
    count, size = samples.shape
    quantiles, means = np.zeros((count, size, len(_LEVELS))), np.zeros((count, size))
    crps, kept = np.zeros((count, size)), np.array(samples)
    for row in range(count):
        seen = np.flatnonzero(samples[row])
        if len(seen) < 2:
            kept[row] = 0
            continue
        values = samples[row, seen].astype(np.float64)
        apart = np.abs(values[:, None] - values[None, :])
        others = np.array([np.delete(values, i) for i in range(len(values))])
        k = len(values) - 1
        within = (apart.sum() - 2.0 * apart.sum(axis=1)) / k**2
        crps[row, seen] = apart.sum(axis=1) / k - within / 2.0
        means[row, seen] = others.mean(axis=1)
        quantiles[row, seen] = np.quantile(others, _LEVELS, axis=1, method="inverted_cdf").T
    return Judged(kept, quantiles, means, crps)


def transforms(forecasts: Sequence[LengthDistribution], samples: Ints) -> list[Floats]:
    """For each forecast its CDF at every sample that is there, half of the last token's share.

    Uniform over 0..1 where the forecasts hold (PIT).
    """
    return [
        (forecast.cdf(row[row > 0]) + forecast.cdf(row[row > 0] - 1)) / 2.0
        for forecast, row in zip(forecasts, samples, strict=True)
    ]


def rank_correlation(predicted: ArrayLike, actual: ArrayLike) -> float:
    """Kendall tau-b; 0 where either side is constant, since that ranks nothing."""
    left, right = np.asarray(predicted), np.asarray(actual)
    if np.ptp(left) == 0 or np.ptp(right) == 0:
        return 0.0
    return float(kendalltau(left, right).statistic)


def _over(values: NDArray[np.generic], seen: Mask) -> float:
    return float(np.asarray(values)[seen].mean())


def _row_means(values: Floats, seen: Mask) -> Floats:
    return np.asarray(np.where(seen, values, 0.0).sum(axis=1) / np.maximum(seen.sum(axis=1), 1))


def _pinball(quantiles: Floats, samples: Ints) -> Floats:
    gap = samples[:, :, None] - quantiles
    return np.asarray(np.maximum(_LEVELS * gap, (_LEVELS - 1.0) * gap).mean(axis=-1))
