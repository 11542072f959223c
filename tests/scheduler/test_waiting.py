"""The waiting in arrival order, against sorting them anew."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scheduler.waiting import WaitingLine, by_priority

CAPACITY = 8
MOVES = st.lists(
    st.tuples(st.sampled_from(["join", "leave", "look"]), st.integers(0, CAPACITY - 1)),
    max_size=60,
)
ARRIVALS = st.lists(st.integers(0, 3), min_size=CAPACITY, max_size=CAPACITY)


@given(MOVES, ARRIVALS)
def test_the_order_is_that_of_arrivals_whoever_came_left_and_came_back(moves, arrivals):
    line, members = WaitingLine(CAPACITY), {}
    arrival_s = np.array(arrivals, dtype=float)
    for kind, handle in moves:
        if kind == "look":
            line.order(arrival_s)
        elif kind == "leave":
            line.discard(handle)
            members.pop(handle, None)
        elif handle not in members:
            line.add(handle)
            members[handle] = None
        assert (handle in line) == (handle in members)
        assert len(line) == len(members)
    assert line.order(arrival_s).tolist() == sorted(members, key=lambda h: arrivals[h])


def test_an_order_that_was_given_out_does_not_change():
    line, arrival_s = WaitingLine(2), np.array([1.0, 0.0, 0.5, 0.0])
    line.update([0, 1])
    before = line.order(arrival_s)
    assert line.order(arrival_s) is before
    line.grow(4)
    line.add(2)
    assert line.order(arrival_s).tolist() == [1, 2, 0]
    line.discard(0)
    line.discard(3)
    assert line.order(arrival_s).tolist() == [1, 2]
    assert before.tolist() == [1, 0]


@given(
    st.lists(st.integers(0, 2**33) | st.integers(-3, 3), max_size=60),
    st.sampled_from([1, 3, 2000, 2**40]),
)
def test_by_priority_equals_stand_as_they_stood(numbers, levels):
    priority = np.array([number % levels - 1 for number in numbers], dtype=float)
    order = np.arange(len(numbers))[::-1].copy()
    found = by_priority(order, priority)
    assert found.tolist() == sorted(order.tolist(), key=lambda handle: priority[handle])


def test_the_widest_priorities_that_vllm_takes_are_ordered():
    priority = np.array([2.0**63, 0.0, -(2.0**63), 5.0])
    assert by_priority(np.arange(4), priority)[0] == 2
    assert by_priority(np.array([1, 3]), priority).tolist() == [1, 3]
