"""The orders the search starts from, and the shortlist."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slot_problems import (
    busy_problem,
    planned,
    problem,
    request,
    seeds_of,
    terms_of,
)

from scheduler.slo import Slo
from scheduler.slots.chance import worth
from scheduler.slots.seeds import restricted, shortlist

INDEX, KEPT, DUE, SLACK, SHORT, CHEAP, ARRIVAL, PREVIOUS = ROWS = range(8)


def rows(built, *, price=0.0, previous=(), **config):
    return seeds_of(built, terms_of(built, price=price, **config), previous).tolist()


@given(planned(), st.lists(st.integers(0, 20), unique=True))
@settings(max_examples=60, deadline=None)
def test_every_row_names_everybody_once(given_problem, previous):
    built, terms = given_problem
    seeds = seeds_of(built, terms, previous)
    assert seeds.shape == (len(ROWS), len(built))
    for row in seeds:
        assert sorted(row.tolist()) == list(range(len(built)))


@pytest.mark.parametrize("slots", [1, 2, 16])
def test_every_row_of_a_long_queue_names_everybody_once(slots):
    built = busy_problem(5, waiting=300, slots=slots)
    for row in rows(built, price=0.01, previous=range(100, 250)):
        assert sorted(row) == list(range(len(built)))


def test_of_a_long_queue_the_front_is_sorted_as_far_as_the_shortlist_looks():
    built = busy_problem(5, waiting=300, slots=4)
    seeds = rows(built)
    _, cost_s, index = worth(built, terms_of(built))
    runs, front = built.running, built.running + 3 * built.slots
    waiting = np.arange(runs, len(built))
    by_index = np.argsort(-index, kind="stable")
    cheapest = waiting[np.argsort(cost_s[runs:], kind="stable")]
    oldest = waiting[np.argsort(-built.waited_s[runs:], kind="stable")]
    assert seeds[INDEX][:front] == by_index[:front].tolist()
    assert seeds[CHEAP][runs : runs + front] == cheapest[:front].tolist()
    assert seeds[ARRIVAL][runs : runs + front] == oldest[:front].tolist()


def test_equals_in_a_long_queue_stay_in_place():
    built = problem(*[request() for _ in range(50)], slots=1)
    for row in rows(built):
        assert row == list(range(50))


def test_only_the_index_row_and_the_previous_plan_preempt():
    running = [request(tokens=590, running=True), request(tokens=580, running=True)]
    built = problem(*running, request(tokens=10), request(tokens=20), slots=2)
    seeds = rows(built, previous=[3, 2], keep=1.0)
    assert seeds[INDEX] == [2, 3, 1, 0]
    assert seeds[KEPT] == [0, 1, 2, 3]
    assert seeds[PREVIOUS][:2] == [3, 2]
    assert all(seeds[row][:2] == [0, 1] for row in range(KEPT, PREVIOUS))


HOPELESS, LONG, SHORTER, TIGHT, URGENT = range(5)


def mixed():
    """All waiting, in order of arrival."""
    return problem(
        request(Slo(e2e_s=1.0), tokens=30),  # due by now
        request(Slo(e2e_s=40.0), tokens=400),  # takes 20 s, 20 s to spare
        request(Slo(e2e_s=30.0), tokens=50),  # takes 2.5 s, 27.5 s to spare
        request(Slo(e2e_s=25.0), tokens=400, arrival_s=0.5),  # 5.5 s to spare
        request(Slo(ttft_s=9.0, tpot_s=0.1), tokens=500, arrival_s=0.5),  # 9.5 s
        now_s=0.0,
        slots=1,
    )


def test_the_promising_are_sorted_by_deadline():
    assert rows(mixed())[DUE] == [URGENT, TIGHT, SHORTER, LONG, HOPELESS]


def test_the_promising_are_sorted_by_slack():
    assert rows(mixed())[SLACK] == [TIGHT, URGENT, LONG, SHORTER, HOPELESS]


def test_the_promising_are_sorted_shortest_first():
    order = rows(mixed())[SHORT]
    assert order[0] == SHORTER
    assert set(order[1:3]) == {LONG, TIGHT}
    assert order[3:] == [URGENT, HOPELESS]


def test_everybody_is_sorted_shortest_first():
    order = rows(mixed())[CHEAP]
    assert order[:2] == [HOPELESS, SHORTER]
    assert order[-1] == URGENT


def test_everybody_is_sorted_by_arrival():
    built = problem(*[request(arrival_s=float(at)) for at in (4, 1, 3, 2)], now_s=5.0)
    arrived = [built.waited_s[i] for i in rows(built)[ARRIVAL]]
    assert arrived == [4.0, 3.0, 2.0, 1.0]
    assert rows(mixed())[ARRIVAL] == list(range(5))


def test_who_is_not_worth_its_price_is_not_promising():
    built = problem(request(tokens=500), request(tokens=50), slots=1)
    # Half a promise for 25 s of a slot, or one for 2.5 s.
    dear = rows(built, price=0.1)
    assert rows(built)[DUE] == dear[DUE] == [1, 0]
    built = problem(request(Slo(e2e_s=26.0), tokens=500), request(tokens=50), slots=1)
    assert rows(built)[DUE] == [0, 1]
    assert rows(built, price=0.1)[DUE] == [1, 0]


def test_newcomers_join_the_previous_plan_where_their_index_puts_them():
    built = problem(*[request(tokens=tokens) for tokens in (300, 200, 400, 100, 350)])
    assert rows(built)[INDEX] == [3, 1, 0, 4, 2]
    # The newcomers are 3, first by index, and 4, fourth; 9 is gone.
    assert rows(built, previous=[2, 9, 0, 1])[PREVIOUS] == [3, 2, 0, 1, 4]


def test_without_a_previous_plan_the_last_row_is_the_index():
    seeds = rows(busy_problem(2))
    assert seeds[PREVIOUS] == seeds[INDEX]


@given(planned(), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_the_shortlist_is_the_running_and_every_front(given_problem, slots):
    built, terms = given_problem
    seeds = seeds_of(built, terms)
    chosen = shortlist(seeds, built.running, slots)
    near = set(range(built.running))
    for row in seeds:
        near.update(row[: built.running + 3 * slots].tolist())
    assert chosen.tolist() == sorted(near)


def test_a_long_queue_has_a_short_shortlist():
    built = busy_problem(3, waiting=300, slots=2)
    seeds = seeds_of(built, terms_of(built))
    chosen = shortlist(seeds, built.running, built.slots)
    assert chosen[: built.running].tolist() == list(range(built.running))
    assert len(chosen) <= built.running + len(ROWS) * (built.running + 3 * built.slots)
    assert set(seeds[ARRIVAL, :8]) <= set(chosen)


@given(st.permutations(range(9)), st.permutations(range(9)), st.sets(st.integers(0, 8)))
def test_restricted_orders_keep_who_comes_before_whom(one, other, some):
    chosen = np.array(sorted(some), dtype=np.int64)
    orders = restricted(np.array([one, other], dtype=np.int64), chosen)
    for order, row in zip(orders, (one, other), strict=True):
        assert chosen[order].tolist() == [i for i in row if i in some]
