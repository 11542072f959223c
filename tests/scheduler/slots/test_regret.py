"""Orders built turn by turn, and the price of delay."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slot_problems import CHAT, busy_problem, planned, problem, request, terms_of, walked

from scheduler.latency import StepLatency
from scheduler.slo import Slo
from scheduler.slots.regret import PRICE_SHARES, TICKS_AHEAD, delay_price, regret_order
from scheduler.slots.timetable import TICKS, Timetable, middles

CELL_OF = Timetable.of(problem(), terms_of(problem())).cell_of
MIDDLE = middles(CELL_OF)
CELLS = len(MIDDLE)


def built_order(built, terms, *, price=None, ahead=768):
    order = np.full(len(built), -1, dtype=np.int64)
    price = np.zeros(CELLS) if price is None else price
    regret_order(order, Timetable.of(built, terms), terms, price, ahead)
    return order.tolist()


def price_of(order, table, terms):
    turns = np.empty(len(order), dtype=np.int64)
    free = np.empty((2, TICKS))
    return delay_price(np.asarray(order, dtype=np.int64), table, terms, free, turns)


@given(planned(), st.integers(0, TICKS + 9), st.floats(0.0, 0.1))
@settings(max_examples=60, deadline=None)
def test_every_order_names_everybody_once(given_problem, ahead, most):
    built, terms = given_problem
    order = built_order(built, terms, price=np.linspace(most, 0.0, CELLS), ahead=ahead)
    assert sorted(order) == list(range(len(built)))


def plain_regrets(order, table, terms, price, ahead):
    """For each place in ``order``: what all who are left and fit lose by waiting, and who gets it.

    In plain Python; known of everybody who holds a slot: until which tick, and how much memory.
    """
    last = len(table.cell_of) - 1
    scarce = terms.kv_tokens < np.inf
    space = table.memory * terms.slots / terms.kv_tokens if scarce else np.ones(len(order))
    taken = table.hold * space[:, None] + terms.prefill_slots * table.prefill[:, None]
    net = table.worth - price * taken
    holders, at, prefilled = [], 0, 0.0

    def fits(i):
        held = [table.memory[other] for other, end in holders if end > at]
        return len(held) < terms.slots and sum(held) + table.memory[i] <= terms.kv_tokens

    for place, chosen in enumerate(order):
        while at < last and not any(fits(i) for i in order[place:]):
            at += 1
        turn = max(at, int(prefilled))
        if turn >= last:
            return
        cell, later = table.cell_of[turn], table.cell_of[min(turn + ahead, last)]
        regrets = {}
        for i in filter(fits, order[place:]):
            runs = i < terms.running
            now = net[i, cell]
            if runs and at == 0:
                now = table.stay_worth[i] - price[0] * table.stay_hold[i] * space[i]
            never = -terms.preempt_cost if runs else 0.0
            regrets[i] = now - max(net[i, later:].max(), never)
        yield chosen, regrets
        begin, prefill, hold = turn, table.prefill[chosen], table.hold[chosen, cell]
        if chosen < terms.running and at == 0:
            begin, prefill, hold = 0, table.stay_prefill[chosen], table.stay_hold[chosen]
        if prefill > 0.0:
            begin = prefilled = max(begin, prefilled) + prefill
        holders.append((chosen, min(int(begin + hold + 0.5), last)))


@given(planned(), st.integers(0, TICKS + 9), st.floats(0.0, 0.1))
@settings(max_examples=60, deadline=None)
def test_every_turn_goes_to_who_loses_most_by_waiting(given_problem, ahead, most):
    built, terms = given_problem
    table, price = Timetable.of(built, terms), np.linspace(most, 0.0, CELLS)
    order = built_order(built, terms, price=price, ahead=ahead)
    turns = list(plain_regrets(order, table, terms, price, ahead))
    assert turns or not order
    for chosen, regrets in turns:
        assert regrets[chosen] >= max(regrets.values()) - 1e-9
    assert order[len(turns) :] == sorted(order[len(turns) :])


@pytest.mark.parametrize("ahead", TICKS_AHEAD)
def test_the_near_deadline_comes_before_the_far_one(ahead):
    far, near = request(Slo(e2e_s=30.0)), request(Slo(e2e_s=5.5))
    for pair, first in (((far, near), 1), ((near, far), 0)):
        built = problem(*pair, slots=1)
        assert built_order(built, terms_of(built, patience=1.0), ahead=ahead)[0] == first


def test_who_is_late_anyway_waits_for_who_is_not():
    late, easy = request(Slo(e2e_s=1.0)), request(Slo(e2e_s=8.0))
    built = problem(late, easy, slots=1)
    assert built_order(built, terms_of(built, patience=1.0)) == [1, 0]


def test_nobody_is_evicted_when_nothing_is_gained():
    runs = {"running": True, "generated": 5}
    built = problem(request(), request(), request(**runs), request(**runs), slots=2)
    assert sorted(built_order(built, terms_of(built))[:2]) == [0, 1]


def test_a_hopeless_one_is_evicted_for_one_that_has_no_time_to_lose():
    hopeless = request(tokens=900, running=True, generated=5)
    built = problem(hopeless, request(tokens=590), slots=1)
    assert built_order(built, terms_of(built, preempt_cost=0.1, done_worth=0.1)) == [1, 0]
    assert built_order(built, terms_of(built, preempt_cost=3.0, done_worth=0.1)) == [0, 1]


def test_a_dear_slot_goes_to_the_short():
    long, short = request(tokens=560), request(tokens=60)
    built = problem(long, short, slots=1)
    terms = terms_of(built, patience=1.0)
    table = Timetable.of(built, terms)
    free, dear = np.zeros(CELLS), np.full(CELLS, 1.0 / table.hold[0, 0])
    dear[MIDDLE > 320] = 0.0
    # In no hurry beside the other, but then it would have to pay for its 28 s.
    assert built_order(built, terms, price=free, ahead=64)[0] == 0
    assert built_order(built, terms, price=dear, ahead=384)[0] == 1


def test_the_time_of_a_stretched_prefill_is_mostly_not_the_others():
    # In steps cut short for the decodes its 2 s take 4.4 s, and leave the rest to the others.
    prefilling = StepLatency.linear(step_s=0.05, prompt_token_s=1e-3)
    prompt, answer = (request(CHAT, 100, prompt=2000), request(CHAT, 160, prompt=1))
    built = problem(prompt, answer, slots=1, latency=prefilling)
    terms = terms_of(built)
    table, dear = Timetable.of(built, terms), np.zeros(CELLS)
    dear[0] = 1.0
    taken = table.hold[:, 0] + table.prefill / built.stretch
    assert taken[0] < taken[1] < table.hold[0, 0] + table.prefill[0]
    assert built_order(built, terms, price=dear) == [0, 1]


def test_who_gets_no_turn_in_the_window_follows_in_order():
    built = problem(*[request(tokens=500) for _ in range(12)], slots=1)
    terms = terms_of(built, patience=0.5)
    order = built_order(built, terms)
    _, seen, _ = walked(order, Timetable.of(built, terms), terms)
    assert 0 < seen < 6
    assert order[seen:] == sorted(order[seen:])


@pytest.mark.parametrize("seed", range(8))
def test_one_of_the_orders_beats_arrival_order(seed):
    built = busy_problem(seed)
    terms = terms_of(built)
    table = Timetable.of(built, terms)
    arrival = np.arange(len(built))
    price = price_of(arrival, table, terms)
    values = [
        walked(built_order(built, terms, price=price * share, ahead=ahead), table, terms)[0]
        for share, ahead in zip(PRICE_SHARES, TICKS_AHEAD, strict=True)
    ]
    assert max(values) > walked(arrival, table, terms)[0]


@given(planned(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_price_of_delay_is_what_those_behind_lose_in_a_cell(given_problem, rng):
    built, terms = given_problem
    table = Timetable.of(built, terms)
    order = list(range(len(built)))
    rng.shuffle(order)
    _, seen, turns = walked(order, table, terms)
    lost = np.zeros(CELLS)
    for position, (i, turn) in enumerate(zip(order[:seen], turns, strict=True)):
        cell = CELL_OF[turn]
        stays = turn == 0 and i < built.running and position < built.slots
        if cell + 1 < CELLS and not stays:
            fall = max(table.worth[i, cell] - table.worth[i, cell + 1], 0.0)
            lost[: cell + 1] += fall / (MIDDLE[cell + 1] - MIDDLE[cell])
    np.testing.assert_allclose(price_of(order, table, terms), lost / built.slots, atol=1e-12)


def test_delay_costs_nothing_where_everybody_stays():
    built = problem(*[request(running=True, generated=5) for _ in range(2)], slots=2)
    terms = terms_of(built)
    assert not price_of([0, 1], Timetable.of(built, terms), terms).any()
