"""When requests arrive."""

import math

import numpy as np
from numpy.typing import NDArray

from predictor.errors import ConfigError

Floats = NDArray[np.float64]


def arrival_times(
    count: int, *, rate: float, burstiness: float = 1.0, rng: np.random.Generator
) -> Floats:
    """Arrivals in seconds, float64[count], rising.

    Gaps are gamma distributed with shape ``burstiness`` and mean ``1 / rate``, as in vLLM's
    benchmark: 1 is a Poisson process, below 1 more bursty, above more even. An infinite rate
    lets all arrive at 0.
    """
    if not rate > 0.0:
        raise ConfigError(f"request rate {rate}: give a positive number a second, or inf")
    if not 0.0 < burstiness < math.inf:
        raise ConfigError(f"burstiness {burstiness}: give a positive number (1 = Poisson)")
    if math.isinf(rate):
        return np.zeros(count)
    return np.cumsum(rng.gamma(burstiness, 1.0 / (rate * burstiness), count))
