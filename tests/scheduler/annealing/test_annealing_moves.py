import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.annealing.moves import delay, jump, merge, random_move, split, squeeze, swap
from scheduler.annealing.objective import evaluate, new_state, new_tables

LIMIT = 3


def cut(*batches):
    order = np.array([request for batch in batches for request in batch])
    starts = np.zeros(order.size, dtype=np.bool_)
    starts[np.cumsum([0, *(len(batch) for batch in batches[:-1])])] = True
    return order, starts


def batches_of(order, starts):
    cuts = np.flatnonzero(starts)[1:]
    return [set(batch.tolist()) for batch in np.split(order, cuts)]


@pytest.mark.parametrize(
    ("move", "positions", "before", "after", "first"),
    [
        (squeeze, (3,), ([0, 1], [2, 3]), [{0, 1, 3}, {2}], 0),
        (squeeze, (2,), ([0, 1], [2]), [{0, 1, 2}], 0),
        (squeeze, (2,), ([0], [1], [2]), [{0}, {1, 2}], 1),
        (squeeze, (1,), ([0, 1], [2]), None, -1),
        (squeeze, (3,), ([0, 1, 2], [3]), None, -1),
        (delay, (0,), ([0, 1], [2]), [{1}, {0, 2}], 0),
        (delay, (0,), ([0], [1]), [{0, 1}], 0),
        (delay, (1,), ([0, 1, 2],), [{0, 2}, {1}], 0),
        (delay, (1,), ([0], [1]), None, -1),
        (delay, (0,), ([0], [1, 2, 3]), None, -1),
        (merge, (2,), ([0], [1, 2]), [{0, 1, 2}], 0),
        (merge, (0,), ([0], [1, 2]), None, -1),
        (merge, (3,), ([0, 1], [2, 3]), None, -1),
    ],
)
def test_moves_with_a_limit(move, positions, before, after, first):
    order, starts = cut(*before)
    arguments = (starts,) if move is merge else (order, starts)
    assert move(*arguments, *positions, LIMIT) == first
    assert batches_of(order, starts) == (after or [set(batch) for batch in before])


@pytest.mark.parametrize(
    ("positions", "before", "after", "first"),
    [
        ((0, 3, False), ([0, 1], [2, 3]), [{1}, {0, 2, 3}], 0),
        ((3, 0, False), ([0, 1], [2], [3]), [{0, 1, 3}, {2}], 0),
        ((0, 3, True), ([0, 1], [2], [3]), [{1}, {2}, {3}, {0}], 0),
        ((4, 1, True), ([0], [1, 2], [3, 4]), [{0}, {4}, {1, 2}, {3}], 1),
        ((0, 1, True), ([0], [1]), [{1}, {0}], 0),
        ((2, 3, False), ([0, 1], [2], [3]), [{0, 1}, {2, 3}], 2),
        ((0, 1, True), ([0, 1], [2]), None, -1),
        ((0, 2, False), ([0], [1, 2, 3]), None, -1),
    ],
)
def test_jump(positions, before, after, first):
    at, to, alone = positions
    order, starts = cut(*before)
    assert jump(order, starts, at, to, LIMIT, alone) == first
    assert batches_of(order, starts) == (after or [set(batch) for batch in before])


def test_swap_and_split():
    order, starts = cut([0, 1], [2, 3])
    assert swap(order, starts, 3, 0) == 0
    assert batches_of(order, starts) == [{1, 3}, {0, 2}]
    assert swap(order, starts, 0, 1) == -1
    assert split(starts, 3) == 2
    assert split(starts, 2) == -1
    assert batches_of(order, starts) == [{1, 3}, {2}, {0}]


@settings(deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(2, 12),
    st.integers(1, 5),
    st.booleans(),
    st.sampled_from([1, 3]),
)
def test_a_walk_of_moves_keeps_the_state_whole(make, seed, n, limit, extended, scenarios):
    tables = new_tables(make(seed, n, scenarios=scenarios, max_batch=limit))
    state, fresh = new_state(n, scenarios), new_state(n, scenarios)
    rng = np.array([seed], dtype=np.uint64)
    evaluate(tables, state, 0)
    for _ in range(60):
        before = state.order.tolist(), state.starts.tolist()
        first = random_move(state.order, state.starts, limit, extended, rng)
        if first < 0:
            assert (state.order.tolist(), state.starts.tolist()) == before
            continue
        sizes = np.diff(np.flatnonzero(state.starts), append=n)
        assert state.starts[0]
        assert state.starts[first]
        assert sorted(state.order) == list(range(n))
        assert sizes.max() <= limit
        fresh.order[:], fresh.starts[:] = state.order, state.starts
        assert evaluate(tables, state, first) == evaluate(tables, fresh, 0)
