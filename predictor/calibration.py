"""Corrects forecast probabilities by how often they held on data not trained on."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from predictor.errors import DistributionError

Floats = NDArray[np.float64]

_KNOTS = 21
# Weight of the uncorrected forecast, counted in validation samples: few samples correct little.
_PRIOR_SAMPLES = 50.0


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """A rising map from forecast CDF values to observed ones, linear between 21 knots.

    ``observed`` is float64[21], from 0 to 1; the knots' forecasts are 0, 0.05, ..., 1.
    """

    observed: Floats

    def __post_init__(self) -> None:
        ends_right = self.observed.shape == (_KNOTS,) and tuple(self.observed[[0, -1]]) == (0, 1)
        if not ends_right or not (np.diff(self.observed) >= 0.0).all():
            raise DistributionError(f"a calibration needs {_KNOTS} values that rise from 0 to 1")

    @classmethod
    def identity(cls) -> Self:
        """Changes nothing."""
        return cls(_forecasts())

    @classmethod
    def fit(cls, transforms: ArrayLike) -> Self:
        """From the forecast CDF at each validation sample's true length, float[n]."""
        values = np.sort(np.asarray(transforms, dtype=np.float64))
        forecasts = _forecasts()
        counts = np.searchsorted(values, forecasts, side="right")
        observed = (counts + _PRIOR_SAMPLES * forecasts) / (values.size + _PRIOR_SAMPLES)
        observed[0], observed[-1] = 0.0, 1.0
        return cls(observed)

    def apply(self, cdf: Floats) -> Floats:
        """Corrected CDF values, in the shape of ``cdf``."""
        return np.asarray(np.interp(cdf, _forecasts(), self.observed), dtype=np.float64)


def _forecasts() -> Floats:
    return np.linspace(0.0, 1.0, _KNOTS)
