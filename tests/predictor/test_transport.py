import numpy as np
import pytest

from predictor.distribution import LengthDistribution, log_edges, stack
from predictor.errors import DistributionError
from predictor.transport import rows_from_floats


def some(bins: int, seed: int) -> LengthDistribution:
    rng = np.random.default_rng(seed)
    return LengthDistribution(log_edges(4000, bins), rng.dirichlet(np.ones(bins)))


def test_rows_are_those_of_stack_whatever_the_number_of_bins():
    several = [some(bins, seed) for seed, bins in enumerate((1, 5, 64, 64, 200, 5))]
    edges, cdf = rows_from_floats([each.to_floats() for each in several], bins=64)
    wanted_edges, wanted_cdf = stack([each.trimmed() for each in several], 64)
    np.testing.assert_array_equal(edges, wanted_edges)
    np.testing.assert_allclose(cdf, wanted_cdf, atol=1e-12)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ([0, 1, 2, 0.5, 0.6], "sum"),
        ([0, 2, 1, 0.5, 0.5], "rise"),
        ([0, 1, 2, 1.5, -0.5], "negative"),
        ([0, 1, 2, float("nan"), 0.5], "finite"),
        ([0, 1.5, 2, 0.5, 0.5], "whole"),
        ([-1, 1, 2, 0.5, 0.5], "0"),
        ([0, 1, 1.0, 0.5], "no distribution"),
        ([0], "no distribution"),
        ([], "no distribution"),
        ([0, 1, "1"], "numbers only"),
        ([0, 1, True], "numbers only"),
        ("abc", "flat list"),
        ({"0": 1}, "flat list"),
        (None, "flat list"),
    ],
)
def test_a_bad_one_is_named(bad, words):
    good = [0, 1, 2, 0.5, 0.5]
    with pytest.raises(DistributionError, match="item 1") as caught:
        rows_from_floats([good, bad], bins=8)
    assert words in str(caught.value)


def test_none_at_all():
    edges, cdf = rows_from_floats([], bins=8)
    assert edges.shape == cdf.shape == (0, 9)
