"""Finds how much of an encoder and of a fast path makes the best forecast of both."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from predictor.blend import BlendedPredictor, Members
from predictor.calibration import GroupedCalibration
from predictor.conditioned import ConditionedPredictor
from predictor.errors import DatasetError
from predictor.fast import FastPredictor
from training.encoder.targets import Targets, targets
from training.lengths import LengthRows

Floats = NDArray[np.float64]

_WEIGHTS = tuple(step / 10.0 for step in range(11))


def fit_blend(
    encoder: ConditionedPredictor, fast: FastPredictor, rows: LengthRows
) -> BlendedPredictor:
    """Weight and calibration from the validation side of ``rows``, which neither learned from."""
    held_out = rows.of_split("validation")
    if not len(held_out):
        raise DatasetError("no prompt falls into the validation split; give more data")
    alike = BlendedPredictor(Members(encoder, fast, 0.5), GroupedCalibration.identity())
    asked = held_out.requests()
    one, other = encoder.raw_cdf(asked), fast.raw_cdf(asked)
    label = targets(held_out, alike.edges)
    gaps = [_crps_gap(weight * one + (1.0 - weight) * other, label) for weight in _WEIGHTS]
    members = Members(encoder, fast, _best(gaps))
    blended = BlendedPredictor(members, GroupedCalibration.identity())
    return blended.calibrated(asked, np.where(held_out.seen, held_out.samples, 0))


def _best(gaps: Sequence[float]) -> float:
    return _WEIGHTS[int(np.argmin(gaps))]


def _crps_gap(cdf: Floats, label: Targets) -> float:
    """Mean CRPS in tokens above what the samples' own spread makes unavoidable."""
    start = np.zeros((len(cdf), 1))
    low = cdf[:, :-1] - np.concatenate((start, label.cdf[:, :-1]), axis=1)
    high = cdf[:, 1:] - label.cdf
    squares = (low * low + low * high + high * high) / 3.0
    return float((squares * label.width).sum(axis=1).mean())
