"""What travels in vllm_xargs comes back, and nonsense is dropped."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.distribution import LengthDistribution
from scheduler.slo import Slo
from serving.xargs import (
    CLASS_KEY,
    LENGTHS_KEY,
    PRIORITY_KEY,
    SHEDDABLE_KEY,
    SLO_KEY,
    Hints,
    decode,
    encode,
)


def test_everything_comes_back():
    slo = Slo(ttft_s=5.0, tpot_s=0.1)
    lengths = LengthDistribution.from_samples([3, 50, 50, 400])
    hints = decode(encode(slo_class="chat", slo=slo, lengths=lengths, priority=-7, sheddable=True))
    assert (hints.slo_class, hints.slo, hints.invalid) == ("chat", slo, 0)
    assert (hints.priority, hints.sheddable) == (-7, True)
    assert hints.lengths is not None
    assert hints.lengths.mean == pytest.approx(lengths.mean)


def test_nothing_is_nothing():
    assert decode(None) == decode({}) == decode({"other": 1}) == Hints()


@pytest.mark.parametrize(
    "extra",
    [
        {CLASS_KEY: 7},
        {PRIORITY_KEY: "high"},
        {PRIORITY_KEY: 2**70},
        {SHEDDABLE_KEY: "yes"},
        {SLO_KEY: "soon"},
        {SLO_KEY: [1.0]},
        {SLO_KEY: [1.0, math.nan, 2.0]},
        {SLO_KEY: [True, None, 1]},
        {LENGTHS_KEY: 3},
        {LENGTHS_KEY: []},
        {LENGTHS_KEY: [1.0, -5.0, 2.0]},
        {LENGTHS_KEY: [math.inf] * 3},
        {LENGTHS_KEY: ["x"]},
        {LENGTHS_KEY: [0.0, 1.0, 7.0]},
    ],
)
def test_nonsense_is_dropped_and_counted(extra):
    hints = decode(extra)
    assert hints.invalid == 1
    assert (hints.slo_class, hints.slo, hints.lengths) == (None, None, None)


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([CLASS_KEY, SLO_KEY, LENGTHS_KEY]), anything))
def test_whatever_a_client_sends_nothing_raises(extra):
    decode(extra)


def test_an_edge_beyond_any_whole_number_is_dropped_without_a_warning():
    assert decode({LENGTHS_KEY: [0.0, 1e300, 5.0, 0.5, 0.5]}).invalid == 1
