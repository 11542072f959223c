import numpy as np
import pytest

from predictor.calibration import Calibration
from predictor.errors import DistributionError


def test_identity_changes_nothing():
    cdf = np.linspace(0, 1, 13)
    np.testing.assert_allclose(Calibration.identity().apply(cdf), cdf, atol=1e-12)


def test_a_forecast_that_is_too_high_is_lowered():
    # True lengths always fall below the forecast median.
    found = Calibration.fit(np.linspace(0, 0.5, 5000))
    assert found.apply(np.array([0.25]))[0] == pytest.approx(0.5, abs=0.02)
    assert found.apply(np.array([0.0, 1.0])).tolist() == [0.0, 1.0]


def test_few_samples_correct_little():
    found = Calibration.fit([0.01, 0.01])
    assert np.abs(found.observed - Calibration.identity().observed).max() < 0.05


def test_no_samples_are_the_identity():
    np.testing.assert_allclose(Calibration.fit([]).observed, Calibration.identity().observed)


def test_a_forecast_that_is_far_too_sure_is_mended_in_its_last_percents():
    # Three in ten answers lie beyond all but the last percent of their forecast.
    rng = np.random.default_rng(0)
    values = np.where(rng.random(5000) < 0.3, 1.0 - 0.01 * rng.random(5000), rng.random(5000))
    found = Calibration.fit(values)
    corrected = found.apply(values)
    assert np.mean(corrected <= 0.9) == pytest.approx(0.9, abs=0.01)


SIZE = len(Calibration.identity().observed)


@pytest.mark.parametrize("values", [np.zeros(SIZE), np.linspace(0, 1, 5), np.linspace(1, 0, SIZE)])
def test_a_map_that_does_not_rise_from_0_to_1_is_refused(values):
    with pytest.raises(DistributionError):
        Calibration(values)
