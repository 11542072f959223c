"""The annealed search over orders."""

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slot_problems import (
    busy_problem,
    demand_of,
    planned,
    problem,
    request,
    search,
    seeds_of,
    terms_of,
    walked,
)

from scheduler.slots.config import SlotConfig
from scheduler.slots.regret import PRICE_SHARES, TICKS_AHEAD, delay_price, regret_order
from scheduler.slots.search import SlotSearch
from scheduler.slots.seeds import restricted, shortlist
from scheduler.slots.timetable import TICKS, Timetable


def values_of(built, terms, seeds, orders):
    """What whole ``orders`` are worth to the search: the shortlisted alone, in their order."""
    chosen = shortlist(seeds, built.running, built.slots)
    table = Timetable.of(built, terms, chosen=chosen)
    return [walked(order, table, terms)[0] for order in restricted(np.asarray(orders), chosen)]


@given(planned(), st.integers(0, 2**20))
@settings(max_examples=60, deadline=None)
def test_a_plan_is_repeatable_and_never_worse_than_its_seeds(given_problem, seed):
    built, terms = given_problem
    seeds = seeds_of(built, terms)
    found, again = (search(built, terms, seeds, max_moves=300, seed=seed) for _ in range(2))
    assert sorted(found.order.tolist()) == list(range(len(built)))
    assert found.seed_value == pytest.approx(max(values_of(built, terms, seeds, seeds)))
    assert found.value >= found.seed_value
    assert [found.value] == pytest.approx(values_of(built, terms, seeds, [found.order]))
    assert found.order.tolist() == again.order.tolist()
    assert (found.value, found.evaluations) == (again.value, again.evaluations)


@pytest.mark.parametrize("slots", [1, 2, 8])
def test_of_a_long_queue_only_the_fronts_are_ordered_anew(slots):
    built = busy_problem(slots, waiting=300, slots=slots)
    terms = terms_of(built)
    seeds = seeds_of(built, terms)
    found = search(built, terms, seeds, max_moves=500)
    chosen = shortlist(seeds, built.running, slots)
    assert len(chosen) < len(built)
    assert sorted(found.order.tolist()) == list(range(len(built)))
    assert set(found.order[: len(chosen)]) == set(chosen)
    others = [i for i in seeds[0] if i not in set(chosen)]
    assert found.order[len(chosen) :].tolist() == others
    assert found.value >= max(values_of(built, terms, seeds, seeds))


def test_a_bad_seed_is_improved_upon():
    built = problem(*[request(tokens=n) for n in (590, 580, 100, 90, 80, 70)], slots=2)
    terms = terms_of(built)
    found = search(built, terms, np.arange(6)[None, :], max_moves=3000)
    assert found.value > found.seed_value


@pytest.mark.parametrize("seed", range(5))
def test_without_moves_it_is_the_best_of_the_seeds_and_of_what_is_built_on_them(seed):
    built = busy_problem(seed)
    terms = terms_of(built, demand=demand_of((0.03, 0.3), (0.1, 0.3), price=0.01))
    seeds = seeds_of(built, terms)
    chosen = shortlist(seeds, built.running, built.slots)
    table = Timetable.of(built, terms, chosen=chosen)
    orders = list(restricted(seeds, chosen))
    best = orders[int(np.argmax([walked(order, table, terms)[0] for order in orders]))]
    turns, free = np.empty(len(best), dtype=np.int64), np.empty((2, TICKS))
    price = delay_price(best, table, terms, free, turns)
    for share, ahead in zip(PRICE_SHARES, TICKS_AHEAD, strict=True):
        order = np.empty(len(best), dtype=np.int64)
        regret_order(order, table, terms, price * share, ahead)
        orders.append(order)
    values = [walked(order, table, terms)[0] for order in orders]
    found = search(built, terms, seeds, max_moves=0)
    assert found.value == pytest.approx(max(values))
    assert found.value >= found.seed_value
    assert found.order[: len(chosen)].tolist() == chosen[orders[int(np.argmax(values))]].tolist()
    assert found.evaluations == len(orders)


def test_moves_improve_on_what_is_built_more_often_than_not():
    better = 0
    for seed in range(5):
        built = busy_problem(seed)
        terms = terms_of(built)
        seeds = seeds_of(built, terms)
        built_only, annealed = (
            search(built, terms, seeds, max_moves=moves).value for moves in (0, 4000)
        )
        assert annealed >= built_only
        better += annealed > built_only
    assert better >= 3


@pytest.mark.parametrize("seed", range(8))
def test_the_best_of_all_orders_of_a_few_is_found(seed):
    built = busy_problem(seed, waiting=4, slots=2)
    terms = terms_of(built)
    table = Timetable.of(built, terms)
    everything = itertools.permutations(range(len(built)))
    best = max(walked(order, table, terms)[0] for order in everything)
    bad = np.arange(len(built))[::-1][None, :]
    found = search(built, terms, bad, max_moves=4000)
    assert found.value == pytest.approx(best, rel=0.01)


def test_without_time_one_order_is_built_and_the_best_seed_is_kept_if_it_is_better():
    built = busy_problem(4)
    terms = terms_of(built)
    seeds = seeds_of(built, terms)
    found = search(built, terms, seeds, deadline_ns=0)
    values = values_of(built, terms, seeds, seeds)
    assert found.seed_value == pytest.approx(max(values))
    assert found.value >= found.seed_value
    assert found.evaluations == len(seeds) + 1
    if found.value == found.seed_value:
        chosen = shortlist(seeds, built.running, built.slots)
        best = restricted(seeds, chosen)[int(np.argmax(values))]
        assert found.order[: len(chosen)].tolist() == chosen[best].tolist()


def test_the_moves_end_it_before_the_clock():
    built = busy_problem(4)
    terms = terms_of(built)
    seeds = seeds_of(built, terms)
    found = search(built, terms, seeds, max_moves=100, chunk=16)
    assert 100 <= found.evaluations < 100 + 16 + len(seeds) + 4


def test_different_seeds_of_chance_go_different_ways():
    built = busy_problem(6, waiting=80)
    terms = terms_of(built)
    seeds = seeds_of(built, terms)
    orders = {tuple(search(built, terms, seeds, max_moves=500, seed=k).order) for k in range(4)}
    assert len(orders) > 1


def test_nobody_and_somebody_alone_are_planned():
    for some in ([], [request()], [request(running=True)]):
        built = problem(*some)
        terms = terms_of(built)
        found = search(built, terms, seeds_of(built, terms), max_moves=100)
        assert found.order.tolist() == list(range(len(some)))
        assert found.value == found.seed_value
        assert (found.value > 0.0) == bool(some)


def test_each_candidate_adds_to_the_time_box():
    searcher = SlotSearch(SlotConfig(time_box_s=1.0, time_box_each_s=0.01))
    before_ns = time.monotonic_ns()
    deadline_ns = searcher.deadline_ns(50)
    assert 1.5e9 <= deadline_ns - before_ns <= 1.5e9 + time.monotonic_ns() - before_ns


def test_an_endless_time_box_has_a_deadline_all_the_same():
    assert SlotSearch(SlotConfig(time_box_s=np.inf)).deadline_ns(3) < 2**62


def test_however_many_candidates_the_time_box_has_an_upper_bound():
    searcher = SlotSearch(SlotConfig(time_box_s=1.0, time_box_each_s=0.01, time_box_most_s=2.0))
    before_ns = time.monotonic_ns()
    deadline_ns = searcher.deadline_ns(100_000)
    assert 2.0e9 <= deadline_ns - before_ns <= 2.0e9 + time.monotonic_ns() - before_ns
