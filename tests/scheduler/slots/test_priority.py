"""A waiting request never stands behind one of a higher number; running ones keep their slots."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scheduler.slots.priority import by_priority


def placed(order, priority, *, running, slots):
    found = by_priority(
        np.array(order), np.array(priority, dtype=float), running=running, slots=slots
    )
    return found.tolist()


def test_equal_numbers_leave_the_order_of_the_plan():
    order = np.array([2, 0, 1])
    assert by_priority(order, np.zeros(3), running=1, slots=1) is order


def test_the_waiting_swap_places_with_each_other_and_keep_the_order_of_the_plan_within_a_number():
    # Candidate 0 runs; 3 and 1 have the lower number.
    assert placed([2, 0, 3, 4, 1], [0, 0, 5, 0, 5], running=1, slots=3) == [3, 0, 1, 2, 4]


def test_who_runs_gives_no_slot_to_a_higher_number():
    assert placed([1, 0], [0, 1], running=1, slots=1) == [0, 1]
    assert placed([1, 0], [1, 0], running=1, slots=1) == [1, 0]  # to a lower one it may


@given(st.data())
def test_no_plan_puts_a_lower_number_behind(data):
    n = data.draw(st.integers(1, 12))
    running = data.draw(st.integers(0, n))
    slots = data.draw(st.integers(max(running, 1), n + 2))
    order = data.draw(st.permutations(range(n)))
    priority = data.draw(st.lists(st.integers(-2, 2), min_size=n, max_size=n))
    found = placed(order, priority, running=running, slots=slots)
    assert sorted(found) == list(range(n))
    waiting = [priority[i] for i in found if i >= running]
    assert waiting == sorted(waiting)
    taken = [priority[i] for i in found[:slots] if i >= running]
    for displaced in (priority[i] for i in found[slots:] if i < running):
        assert all(number <= displaced for number in taken)
    for number in set(priority):
        same = [i for i in order if priority[i] == number and i >= running]
        kept = [i for i in found if priority[i] == number and i >= running]
        assert set(same) == set(kept)
