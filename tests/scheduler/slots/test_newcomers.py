"""Requests to come, from those that came."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.slots.newcomers import Arrivals, left_over, nobody


def expected(rows, *, now_s, window=256):
    arrivals = Arrivals(window=window)
    for row in rows:
        arrivals.observe(*(np.array([value], dtype=float) for value in row))
    return arrivals.expected(now_s=now_s)


def test_nobody_came_so_nobody_is_expected():
    found = expected([], now_s=5.0)
    assert found.per_s == 0.0
    assert len(found.slack_s) == len(found.tokens) == 0


def test_as_many_a_second_as_came_and_alike():
    rows = [(0.0, 0.3, 50), (1.0, np.inf, 10), (3.0, 0.1, 900)] * 3
    found = expected(rows, now_s=4.0)
    assert found.per_s == pytest.approx(9 / 4)
    assert found.slack_s.tolist() == [0.1] * 3 + [0.3] * 3 + [np.inf] * 3
    assert found.slack_sums[[3, 6, 9]].tolist() == pytest.approx([0.3, 1.2, 1.2])
    assert found.tokens.tolist() == [10] * 3 + [50] * 3 + [900] * 3
    assert found.token_sums[[0, 3, 9]].tolist() == [0, 30, 2880]


def test_who_had_no_time_from_the_start_has_none():
    assert expected([(0.0, -0.2, 50)] * 8, now_s=1.0).slack_s.tolist() == [0.0] * 8


def test_a_few_or_a_burst_say_little():
    assert expected([(0.0, 1.0, 50)] * 7, now_s=9.0).per_s == 0.0
    assert expected([(0.0, 1.0, 50)] * 100, now_s=0.01).per_s == pytest.approx(50.0)


def test_the_oldest_are_forgotten():
    rows = [(float(k), float(k), k) for k in range(20)]
    found = expected(rows, now_s=20.0, window=8)
    assert found.tokens.tolist() == list(range(12, 20))
    assert found.per_s == pytest.approx(8 / 8)


def test_several_at_once():
    arrivals = Arrivals(window=8)
    arrivals.observe(np.arange(19.0), np.ones(19), np.arange(19.0))
    arrivals.observe(np.array([19.0]), np.ones(1), np.array([19.0]))
    assert sorted(arrivals.expected(now_s=20.0).tokens) == list(range(12, 20))


@given(
    tokens=st.lists(st.integers(1, 5000), min_size=20, max_size=40),
    left=st.integers(1, 6000),
    tokens_per_s=st.floats(10, 1e5),
    share=st.floats(0, 1),
)
@settings(deadline=None)
def test_smaller_newcomers_leave_less_over(tokens, left, tokens_per_s, share):
    found = expected([(k / 10, 1.0, n) for k, n in enumerate(tokens)], now_s=len(tokens) / 10)
    smaller = found.per_s * sum(n for n in tokens if n < left) / len(tokens)
    told = left_over(float(left), found, tokens_per_s, share)
    assert told == pytest.approx(tokens_per_s - share * min(smaller, tokens_per_s))


def test_nobody_leaves_everything():
    assert left_over(10.0, nobody(), 123.0, 0.5) == 123.0
