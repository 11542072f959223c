from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.annealing import AnnealConfig, anneal, exhaustive, value_of


def every_cut_order(n, limit):
    for cuts in product((False, True), repeat=n - 1):
        sizes = np.diff([0, *(at + 1 for at, cut in enumerate(cuts) if cut), n])
        if sizes.max() <= limit:
            for order in permutations(range(n)):
                yield np.array(order), sizes


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 4), st.sampled_from([1, 3]))
def test_equals_all_orders_times_all_cuts(make, seed, n, limit, scenarios):
    problem = make(seed, n, scenarios=scenarios, max_batch=limit)
    result = exhaustive(problem)
    optimum = max(value_of(problem, order, sizes) for order, sizes in every_cut_order(n, limit))
    assert result.value == pytest.approx(optimum, rel=1e-12)
    assert result.value == pytest.approx(value_of(problem, result.order, result.batch_sizes))
    assert sorted(result.order) == list(range(n))
    assert result.batch_sizes.max() <= limit


@pytest.mark.parametrize(
    ("n", "limit", "states"), [(1, 1, 1), (3, 3, 13), (4, 1, 24), (4, 4, 75), (8, 8, 545_835)]
)
def test_tries_every_ordered_partition_once(make, n, limit, states):
    assert exhaustive(make(0, n, max_batch=limit)).evaluations == states


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_no_search_beats_it(make, seed, n):
    problem = make(seed, n)
    found = anneal(problem, AnnealConfig(max_evaluations=2000)).value
    assert found <= exhaustive(problem).value * (1 + 1e-9)


def test_refuses_more_than_eight(make):
    with pytest.raises(ValueError, match="9 requests are too many"):
        exhaustive(make(0, 9))


def test_nobody(make):
    assert exhaustive(make(0, 0)).order.tolist() == []
