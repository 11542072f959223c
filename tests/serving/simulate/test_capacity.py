"""The search for the highest rate up to which a bound holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.errors import InputError
from serving.simulate.capacity import Search, highest_scale


def below(threshold):
    return lambda scale: 0.0 if scale <= threshold else 0.5


@pytest.mark.parametrize("threshold", [0.08, 0.8, 1.0, 1.3, 77.0])
@pytest.mark.parametrize("tolerance", [0.02, 0.3])
def test_a_rising_curve_is_followed_within_the_tolerance(threshold, tolerance):
    tried = []

    def violations(scale):
        tried.append(scale)
        return below(threshold)(scale)

    found = highest_scale(violations, Search(0.1, tolerance), label="fcfs")
    assert threshold / (1 + tolerance) <= found <= threshold
    assert found in tried


def test_what_holds_beyond_a_broken_rate_does_not_count():
    # At 0.4 to 0.6 times the load a long step breaks the bound; from there on to 3 it holds.
    def violations(scale):
        return 0.5 if 0.4 < scale < 0.6 or scale > 3.0 else 0.0

    found = highest_scale(violations, Search(), label="fcfs")
    assert 0.4 / 1.02 <= found <= 0.4


@given(
    st.lists(st.tuples(st.floats(0.1, 50.0), st.floats(1.3, 3.0)), min_size=1, max_size=4),
    st.sampled_from([0.005, 0.02, 0.1]),
)
def test_the_first_gap_that_is_wider_than_a_step_ends_the_search(gaps, tolerance):
    def violations(scale):
        inside = any(start < scale < start * width for start, width in gaps)
        return 1.0 if inside or scale > 60.0 else 0.0

    found = highest_scale(violations, Search(0.01, tolerance), label="fcfs")
    first = min(60.0, *(start for start, _ in gaps))
    assert first / (1 + tolerance) <= found <= first


def test_violations_at_the_bound_are_allowed():
    found = highest_scale(
        lambda scale: 0.25 if scale <= 0.7 else 1.0, Search(0.25, 0.01), label="fcfs"
    )
    assert found == pytest.approx(0.7, rel=0.01)


def test_who_breaks_the_bound_at_the_lowest_load_carries_nothing():
    assert highest_scale(lambda scale: 0.02 if scale < 0.1 else 0.0, Search(), label="fcfs") == 0.0
    lower = Search(lowest=0.001)
    assert highest_scale(below(0.01), lower, label="fcfs") == pytest.approx(0.01, rel=0.02)


def test_a_bound_that_holds_at_every_load_is_said():
    with pytest.raises(InputError, match=r"fcfs, seed 0: .*never more than"):
        highest_scale(lambda _: 0.0, Search(), label="fcfs, seed 0")


@pytest.mark.parametrize(
    "values",
    [
        {"violations": 0.0},
        {"violations": 1.0},
        {"tolerance": 0.0},
        {"tolerance": 2.0},
        {"lowest": 0.0},
        {"lowest": float("nan")},
        {"step": 1.0},
        {"step": float("inf")},
    ],
)
def test_a_search_needs_sensible_numbers(values):
    with pytest.raises(InputError, match=f"--{next(iter(values))}"):
        Search(**values)
