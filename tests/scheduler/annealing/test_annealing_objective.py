import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.annealing import AnnealProblem, value_of
from scheduler.latency import StepLatency

seeds = st.integers(0, 2**32)
ONE_SECOND = StepLatency.linear(step_s=1.0)


@st.composite
def cut_orders(draw, n):
    order = draw(st.permutations(range(n)))
    cuts = draw(st.lists(st.booleans(), min_size=n - 1, max_size=n - 1))
    edges = [0, *(at + 1 for at, cut in enumerate(cuts) if cut), n]
    return np.array(order), np.diff(edges)


@settings(deadline=None)
@given(st.data(), seeds, st.integers(1, 7), st.sampled_from([1, 4]))
def test_equals_the_definition(make, plain, data, seed, n, scenarios):
    problem = make(seed, n, scenarios=scenarios, max_batch=n)
    order, sizes = data.draw(cut_orders(n))
    expected = plain(problem, order, sizes)
    assert value_of(problem, order, sizes) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@settings(deadline=None)
@given(st.data(), seeds, st.integers(1, 7), st.integers(2, 5))
def test_a_point_is_a_distribution_of_equal_atoms(make, data, seed, n, atoms):
    point = make(seed, n, max_batch=n)
    equal = dataclasses.replace(point, output_tokens=np.repeat(point.output_tokens, atoms, axis=1))
    order, sizes = data.draw(cut_orders(n))
    assert value_of(equal, order, sizes) == pytest.approx(value_of(point, order, sizes), rel=1e-12)


def test_a_request_counts_with_the_share_of_its_lengths_that_meet_it():
    problem = AnnealProblem.create(
        prompt_tokens=[1], output_tokens=[[1, 2, 3, 4]], max_batch=1, latency=ONE_SECOND, e2e_s=4.0
    )
    # 1 s of prefill and 1 s a token: three of four lengths end within 4 s; 3.5 s on average.
    assert value_of(problem, np.array([0]), np.array([1])) == pytest.approx(0.75 / 3.5)


def test_a_batch_waits_for_the_longest_of_the_batch_ahead():
    problem = AnnealProblem.create(
        prompt_tokens=[1, 1, 1], output_tokens=[1, 5, 1], max_batch=2, latency=ONE_SECOND, e2e_s=8.0
    )
    # The third ends at 6 + 2 = 8 s, just in time: latencies 2, 6 and 8 s.
    assert value_of(problem, np.arange(3), np.array([2, 1])) == pytest.approx(3 / 16)


def test_no_promise_is_no_promise_kept():
    problem = AnnealProblem.create(
        prompt_tokens=[1, 1], output_tokens=[1, 1], max_batch=2, latency=ONE_SECOND
    )
    assert value_of(problem, np.arange(2), np.array([2])) == 0.0


def test_nobody_is_worth_nothing():
    problem = AnnealProblem.create(
        prompt_tokens=[], output_tokens=[], max_batch=2, latency=ONE_SECOND
    )
    assert value_of(problem, np.arange(0), np.arange(0)) == 0.0


def test_rows_are_shuffled_apart_and_keep_their_lengths():
    atoms = np.tile(np.arange(1.0, 17.0), (4, 1))
    problem = AnnealProblem.create(
        prompt_tokens=np.ones(4), output_tokens=atoms, max_batch=2, latency=ONE_SECOND
    )
    assert (np.sort(problem.output_tokens, axis=1) == atoms).all()
    assert len({tuple(row) for row in problem.output_tokens}) == 4


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"output_tokens": [1.0]}, "output_tokens is of 1 requests, not of 2"),
        ({"output_tokens": [1.0, 0.0]}, "output token"),
        ({"output_tokens": np.ones((2, 0))}, "Q >= 1"),
        ({"prompt_tokens": [1.0, -1.0]}, "prompt tokens"),
        ({"max_batch": 0}, "max_batch is 0"),
    ],
)
def test_refuses_what_is_no_problem(changes, fault):
    good = {"prompt_tokens": [1.0, 1.0], "output_tokens": [1.0, 1.0], "max_batch": 1}
    with pytest.raises(ValueError, match=fault):
        AnnealProblem.create(latency=ONE_SECOND, **{**good, **changes})
