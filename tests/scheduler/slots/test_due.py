"""The order in which the fewest prompts are late."""

from itertools import permutations
from math import inf

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.slots.due import by_due
from scheduler.slots.newcomers import Arrivals, nobody
from scheduler.slots.prompts import Prompts


def ordered(*prompts, begun=0, order=None, stays=0, newcomers=None, share=1.0, work=None):
    """Prompts as (tokens left, slack in seconds), 100 a second; places, and those given up."""
    left, slack_s = np.array(prompts, dtype=float).reshape(-1, 2).T.copy()
    n = len(left)
    found, kept = by_due(
        np.arange(n) if order is None else np.array(order),
        Prompts(
            begun=begun,
            handle=np.arange(n),
            left=left,
            cached=np.zeros(n),
            work=left if work is None else np.array(work, dtype=float),
            slack_s=slack_s,
            answers=np.empty(0, np.int64),
        ),
        newcomers or nobody(),
        stays=stays,
        tokens_per_s=100.0,
        share=share,
    )
    return found[:kept].tolist(), found[kept:].tolist()


def test_by_deadline_while_all_can_be_in_time():
    assert ordered((100, 3.0), (100, 1.0), (100, 2.0)) == ([1, 2, 0], [])


def test_the_longest_is_given_up_if_somebody_would_be_late():
    # 100 tokens a second: the first two together miss the second's deadline.
    assert ordered((150, 2.0), (100, 2.2), (20, 2.2)) == ([1, 2], [0])


def test_who_is_late_already_comes_after_the_others_as_they_stood():
    assert ordered((10, -1.0), (10, 5.0), (10, -2.0), order=[2, 0, 1]) == ([1], [2, 0])


def test_no_deadline_is_no_hurry():
    assert ordered((10, inf), (10, 5.0), (10, inf)) == ([1], [0, 2])


def test_of_the_rest_those_that_have_begun_come_first_the_shortest_foremost():
    late = [(90, -1.0), (30, -1.0), (10, -1.0), (5, -1.0)]
    assert ordered(*late, begun=2) == ([], [1, 0, 2, 3])


def test_only_those_that_may_be_computed():
    assert ordered((10, 1.0), (10, 2.0), (10, 3.0), order=[2, 0]) == ([0, 2], [])


def test_smaller_ones_to_come_leave_a_large_one_less():
    arrivals = Arrivals()
    arrivals.observe(np.arange(10.0), np.ones(10), np.full(10, 40.0))  # one a second
    newcomers = arrivals.expected(now_s=10.0)
    large, small = (150, 2.0), (30, 2.0)
    assert ordered(large) == ([0], [])
    # 60 of 100 tokens a second are left to the large one: it would take 2.5 s.
    assert ordered(large, newcomers=newcomers) == ([], [0])
    assert ordered(small, newcomers=newcomers) == ([0], [])
    # If half of the smaller ones come too late, 80 are left.
    assert ordered(large, newcomers=newcomers, share=0.5) == ([0], [])


def test_time_counts_and_not_tokens():
    """The tokens of the first take three times as long."""
    prompts = [(100, 2.5), (150, 2.5)]
    assert ordered(*prompts) == ([0, 1], [])
    assert ordered(*prompts, work=[300, 150]) == ([1], [0])


def test_who_stays_in_front_leaves_the_others_their_time():
    overdue, chat = (5000, inf), (50, 1.0)
    assert ordered(chat, overdue, order=[1, 0], stays=1) == ([1, 0], [])


@given(
    st.lists(st.tuples(st.integers(1, 50), st.floats(-0.2, 1.5)), max_size=6),
    st.integers(0, 6),
)
@settings(deadline=None)
def test_as_many_are_in_time_as_in_any_order(prompts, begun):
    def in_time(order):
        done, count = 0.0, 0
        for i in order:
            if done + prompts[i][0] <= prompts[i][1] * 100.0:
                done += prompts[i][0]
                count += 1
        return count

    kept, rest = ordered(*prompts, begun=begun)
    assert sorted(kept + rest) == list(range(len(prompts)))
    assert in_time(kept) == len(kept)
    best = max(in_time(order) for order in permutations(range(len(prompts))))
    assert len(kept) == best
