import math

import numpy as np
import pytest

from predictor.errors import ConfigError
from training.arrivals import arrival_times


@pytest.mark.parametrize("burstiness", [0.25, 1.0, 4.0])
def test_rate_and_burstiness(burstiness):
    rng = np.random.default_rng(0)
    gaps = np.diff(arrival_times(40_000, rate=2.0, burstiness=burstiness, rng=rng), prepend=0.0)
    assert (gaps >= 0).all()
    assert gaps.mean() == pytest.approx(0.5, rel=0.03)
    # A gamma's squared coefficient of variation is 1 / shape.
    assert gaps.var() / gaps.mean() ** 2 == pytest.approx(1 / burstiness, rel=0.06)


def test_seeded():
    one, two = (arrival_times(9, rate=1.0, rng=np.random.default_rng(3)) for _ in range(2))
    assert one.tolist() == two.tolist()


def test_infinite_rate():
    times = arrival_times(4, rate=math.inf, rng=np.random.default_rng(0))
    assert times.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("rate", "burstiness"),
    [(0, 1), (-1, 1), (math.nan, 1), (1, 0), (1, math.inf), (1, math.nan)],
)
def test_bad_values(rate, burstiness):
    with pytest.raises(ConfigError):
        arrival_times(4, rate=rate, burstiness=burstiness, rng=np.random.default_rng(0))
