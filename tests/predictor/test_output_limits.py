"""A forecast of the text, given what request and engine say of the length."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.distribution import LengthDistribution
from predictor.output_limits import OutputLimits

FLAT = LengthDistribution(edges=np.array([0, 100, 500]), probabilities=np.array([0.6, 0.4]))


@pytest.mark.parametrize(
    ("limits", "forced"),
    [
        (OutputLimits(max_tokens=400, ignore_eos=True), 400),
        (OutputLimits(max_tokens=400, min_tokens=400), 400),
        (OutputLimits(max_tokens=400, min_tokens=400, stops=True), 400),
        (OutputLimits(max_tokens=400, min_tokens=300), None),
        # A stop string may end what ignores the end of text.
        (OutputLimits(max_tokens=400, ignore_eos=True, stops=True), None),
        (OutputLimits(ignore_eos=True), None),
        (OutputLimits(), None),
    ],
)
def test_a_forced_length_is_known(limits, forced):
    assert limits.forced_tokens == forced
    if forced is not None:
        assert limits.condition(FLAT).equal(LengthDistribution.point(forced))


@pytest.mark.parametrize(
    ("limits", "natural"),
    [
        (OutputLimits(max_tokens=400), True),
        (OutputLimits(max_tokens=400, min_tokens=1), True),
        (OutputLimits(max_tokens=400, min_tokens=2), False),
        (OutputLimits(max_tokens=400, ignore_eos=True), False),
        (OutputLimits(max_tokens=400, ignore_eos=True, stops=True), False),
    ],
)
def test_only_a_length_that_the_model_chose_is_natural(limits, natural):
    assert limits.natural is natural


def test_a_lower_limit_conditions_and_an_upper_one_cuts():
    told = OutputLimits(max_tokens=400, min_tokens=300).condition(FLAT)
    # Uniform over 101..500, given at least 300: half lies in 300..400, the rest on the limit.
    assert told.cdf(299) == 0.0
    assert told.cdf(399) == pytest.approx(100 / 201)
    assert told.edges[-1] == 400


def test_a_lower_limit_beyond_the_forecast_is_the_length():
    told = OutputLimits(min_tokens=700).condition(FLAT)
    assert told.equal(LengthDistribution.point(700))


@given(
    st.lists(st.floats(0.01, 1.0), min_size=1, max_size=12),
    st.integers(1, 60),
    st.integers(1, 60),
)
def test_conditioning_is_exact_for_every_length(weights, least, span):
    edges = np.arange(len(weights) + 1) * 4
    lengths = LengthDistribution(edges=edges, probabilities=np.array(weights) / sum(weights))
    most = least + span
    told = OutputLimits(max_tokens=most, min_tokens=least).condition(lengths)
    tokens = np.arange(1, most + 1)
    tail = float(lengths.survival(least - 1))
    if tail < 1e-9:
        assert told.equal(LengthDistribution.point(least))
        return
    wanted = (lengths.cdf(tokens) - lengths.cdf(least - 1)) / tail
    wanted[tokens < least] = 0.0
    wanted[-1] = 1.0
    assert told.cdf(tokens) == pytest.approx(wanted, abs=1e-9)
