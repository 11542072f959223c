"""Whether forecasts still hold: PIT uniformity, coverage and CRPS over a window."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kstest

from predictor.distribution import LengthDistribution
from predictor.errors import DatasetError
from training.lengths import LengthRows
from training.metrics import judge, transforms

Ints = NDArray[np.int64]

WINDOW = 2000
_FEWEST = 50
# All three are far outside what chance does to a window of hundreds of answers.
_KS_LIMIT = 0.1
_KS_CHANCE = 1e-3
_COVERAGE_LIMIT = 0.05
_CRPS_FACTOR = 1.25


@dataclass(frozen=True, slots=True)
class Drift:
    """What a window of (forecast, length) pairs shows; ``reasons`` is empty where all holds.

    ``ks``: largest distance of the PIT values from uniform; ``coverage_90``: share of lengths
    up to the 90 % quantile; ``crps`` in tokens.
    """

    pairs: int
    ks: float
    coverage_90: float
    crps: float
    reasons: tuple[str, ...]

    @property
    def drifted(self) -> bool:
        """Whether to train anew."""
        return bool(self.reasons)


def drift(
    forecasts: Sequence[LengthDistribution], lengths: Ints, *, usual_crps: float | None = None
) -> Drift:
    """Judge the last 2,000 pairs; ``usual_crps`` is what the predictor scored when it was new.

    Raises ``DatasetError`` with fewer than 50.
    """
    if len(forecasts) < _FEWEST:
        raise DatasetError(
            f"{len(forecasts)} observations: give at least {_FEWEST} to tell drift from chance"
        )
    recent, came = forecasts[-WINDOW:], np.asarray(lengths, dtype=np.int64)[-WINDOW:]
    found = judge(recent, came).scores()
    values = np.concatenate(transforms(recent, came[:, None]))
    test = kstest(values, "uniform")
    reasons = []
    if not isfinite(found.crps):
        reasons.append(f"CRPS is {found.crps:g}: the forecasts are no numbers")
    if test.statistic > _KS_LIMIT and test.pvalue < _KS_CHANCE:
        reasons.append(f"PIT is {test.statistic:.2f} from uniform")
    if abs(found.coverage_90 - 0.9) > _COVERAGE_LIMIT:
        reasons.append(f"{100 * found.coverage_90:.0f} % of answers lie below the 90 % quantile")
    if usual_crps is not None and isfinite(usual_crps) and found.crps > _CRPS_FACTOR * usual_crps:
        reasons.append(f"CRPS is {found.crps:.0f} tokens, {usual_crps:.0f} when it was trained")
    return Drift(len(recent), float(test.statistic), found.coverage_90, found.crps, tuple(reasons))


def one_each(rows: LengthRows, *, seed: int = 0) -> tuple[LengthRows, Ints]:
    """The rows with a sample below the cap, and one of these samples each, by chance.

    Samples of one prompt are alike; taking all would make chance look like drift.
    """
    some = rows.where(np.flatnonzero(rows.seen.any(axis=1)))
    score = np.where(some.seen, np.random.default_rng(seed).random(some.samples.shape), -1.0)
    return some, some.samples[np.arange(len(some)), score.argmax(axis=1)]


def stratified(rows: LengthRows, count: int, *, seed: int = 0) -> LengthRows:
    """About ``count`` rows, as many of each LLM and data set as far as they reach."""
    groups: dict[tuple[int, str], list[int]] = {}
    for row, (llm, name) in enumerate(zip(rows.llm_of, rows.datasets(), strict=True)):
        groups.setdefault((int(llm), name), []).append(row)
    rng = np.random.default_rng(seed)
    chosen: list[int] = []
    left = count
    for place, members in enumerate(sorted(groups.values(), key=len)):
        share = min(len(members), left // (len(groups) - place))
        chosen.extend(rng.permutation(members)[:share].tolist())
        left -= share
    return rows.where(np.array(sorted(chosen), dtype=np.int64))
