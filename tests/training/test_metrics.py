import numpy as np
import pytest

from predictor.distribution import LengthDistribution
from predictor.errors import DatasetError
from training.metrics import noise_ceiling, rank_correlation, score

UNIFORM = LengthDistribution(np.array([0, 100]), np.ones(1))


def test_perfect_forecasts():
    lengths = [3, 9, 50]
    found = score([LengthDistribution.point(n) for n in lengths], lengths)
    assert found.rows == 3
    assert (found.tau_b, found.mae, found.crps) == (1.0, 0.0, 0.0)
    assert (found.coverage_90, found.coverage_80, found.width_80) == (1.0, 1.0, 0.0)


def test_coverage_of_a_right_forecast():
    found = score([UNIFORM] * 100, np.arange(1, 101))
    assert (found.coverage_90, found.coverage_80, found.width_80) == (0.9, 0.81, 80.0)
    assert found.mae == 25.0
    assert found.crps == pytest.approx(float(UNIFORM.crps(np.arange(1, 101)).mean()))


def test_rank_correlation_with_ties():
    # 5 concordant of 6 pairs, one tied on the left: 5 / sqrt(5 * 6).
    assert rank_correlation([1, 1, 2, 3], [1, 2, 3, 4]) == pytest.approx(5 / np.sqrt(30))
    assert rank_correlation([1, 1], [1, 2]) == 0.0


@pytest.mark.parametrize(("forecasts", "lengths"), [([], []), ([UNIFORM], [1, 2])])
def test_one_length_per_forecast(forecasts, lengths):
    with pytest.raises(DatasetError):
        score(forecasts, lengths)


def test_several_samples_each():
    samples = np.array([[3, 5, 0], [50, 0, 0]])
    found = score([LengthDistribution.point(3), LengthDistribution.point(50)], samples)
    assert found.mae == pytest.approx(2 / 3)
    assert found.crps == pytest.approx(2 / 3)
    assert found.coverage_90 == pytest.approx(2 / 3)
    assert found.mae_mean == pytest.approx(0.5)


def test_the_noise_ceiling_leaves_the_judged_sample_out():
    samples = np.array([[10, 10, 10, 10], [10, 20, 0, 0], [7, 0, 0, 0]])
    found = noise_ceiling(samples)
    assert found.crps[0].tolist() == [0.0] * 4
    assert found.crps[1].tolist() == [10.0, 10.0, 0.0, 0.0]
    assert found.seen.sum() == 6  # a lone sample is judged by nothing


def test_the_noise_ceilings_crps_is_that_of_the_other_samples():
    samples = np.array([[3, 8, 20, 100]])
    others = [np.delete(samples[0], i) for i in range(4)]
    exact = [
        np.abs(o - n).mean() - np.abs(o[:, None] - o).mean() / 2
        for o, n in zip(others, samples[0], strict=True)
    ]
    assert noise_ceiling(samples).crps[0] == pytest.approx(exact)
