"""The walk through the slots: by hand, in plain Python, and without ticks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from slot_problems import (
    busy_problem,
    demand_of,
    plain_push,
    planned,
    problem,
    request,
    terms_of,
    walked,
)

from predictor.distribution import LengthDistribution
from scheduler.latency import StepLatency
from scheduler.slots.chance import outlook
from scheduler.slots.problem import Fact
from scheduler.slots.timetable import Timetable


def value_of(order, built, terms):
    return walked(order, Timetable.of(built, terms), terms)[0]


def plain_walk(order, table, terms):
    """The walk in plain Python: who holds a slot, until which tick, and how much memory with it."""
    last = len(table.cell_of) - 1
    holders, at, prefilled, value, turns = [], 0, 0.0, 0.0, []

    def fits(i):
        held = [table.memory[other] for other, end in holders if end > at]
        return len(held) < terms.slots and sum(held) + table.memory[i] <= terms.kv_tokens

    for position, i in enumerate(order):
        if position < terms.slots and i < terms.running and at == 0 and fits(i):
            turn, prefill, hold = 0, table.stay_prefill[i], table.stay_hold[i]
            worth = table.stay_worth[i]
        else:
            while at < last and not fits(i):
                at += 1
            turn = max(at, int(prefilled))
            if turn >= last:
                break
            cell = table.cell_of[turn]
            prefill, hold, worth = table.prefill[i], table.hold[i, cell], table.worth[i, cell]
        begin = float(turn)
        if prefill > 0.0:
            begin = prefilled = max(begin, prefilled) + prefill
        holders.append((i, min(int(begin + hold + 0.5), last)))
        value += worth
        turns.append(turn)
    lost = set(range(terms.running)) - set(order[: len(turns)])
    return value - len(lost) * terms.preempt_cost, turns


@given(planned(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_the_compiled_walk_is_the_plain_walk(given_problem, rng):
    built, terms = given_problem
    table = Timetable.of(built, terms)
    order = list(range(len(built)))
    rng.shuffle(order)
    value, seen, turns = walked(order, table, terms)
    plain, plain_turns = plain_walk(order, table, terms)
    assert value == pytest.approx(plain)
    assert turns.tolist() == plain_turns
    assert seen == len(plain_turns)


def slot_s(i, prefill, tokens, built):
    """Slot-seconds of everybody's slots that a candidate takes."""
    return built.slots / built.stretch * prefill + tokens * built.facts[i, Fact.TOKEN_SLOT_S]


def walk_without_ticks(order, built, terms):
    """Continuous time: everybody begins to the moment, and is worth what it is then."""
    free, prefilled, value = [0.0] * built.slots, 0.0, 0.0
    for position, i in enumerate(order):
        start = min(free)
        if position >= built.slots and max(start, prefilled) > 9.0 * terms.horizon_s:
            lost = set(range(built.running)) - set(order[:position])
            return value - len(lost) * terms.preempt_cost
        lost = i < built.running and position >= built.slots
        prefill = built.facts[i, Fact.RESTART_S if lost else Fact.START_S]
        begin = start
        if prefill > 0.0:
            begin = prefilled = max(start, prefilled) + prefill
        # Who is worth more and comes later pushes in before the turn, not into the prefill.
        chance, tokens = outlook(i, prefill, built.facts, built.atoms, built.token_s)
        later = plain_push(chance / slot_s(i, prefill, tokens, built), terms.demand)
        pushed = (begin - prefill) * later + prefill
        chance, tokens = outlook(i, pushed, built.facts, built.atoms, built.token_s)
        gain = chance + terms.done_worth - terms.price * slot_s(i, prefill, tokens, built)
        value += gain * np.exp(-begin / terms.horizon_s) - lost * terms.preempt_cost
        free[free.index(start)] = begin + tokens * built.token_s
    return value


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("waiting", "slots"), [(12, 3), (40, 8), (80, 16)])
@pytest.mark.parametrize("wants", [(), ((0.03, 0.3), (0.1, 0.3), (0.3, 0.2))])
def test_the_ticks_are_fine_enough_to_rank_orders(seed, waiting, slots, wants):
    built = busy_problem(seed, waiting=waiting, slots=slots)
    terms = terms_of(built, demand=demand_of(*wants, price=0.01))
    rng = np.random.default_rng(seed)
    runs, others = np.arange(built.running), np.arange(built.running, len(built))
    orders = [np.append(runs, rng.permutation(others)) for _ in range(60)]
    table = Timetable.of(built, terms)
    ticked = [walked(order, table, terms)[0] for order in orders]
    exact = [walk_without_ticks(order, built, terms) for order in orders]
    assert spearmanr(ticked, exact).statistic >= 0.95


def test_everybody_is_served_in_order_through_the_slots():
    built = problem(*[request(tokens=400) for _ in range(4)], slots=2)
    terms = terms_of(built, done_worth=0.0, patience=1.0)
    value, seen, turns = walked(np.arange(4), Timetable.of(built, terms), terms)
    # Two at once take 20 s; the other two would end at 40 s, too late for 30 s.
    assert value == pytest.approx(2.0)
    assert seen == 4
    assert turns[:2].tolist() == [0, 0]
    ticks = 20.0 / Timetable.of(built, terms).tick_s
    assert turns[2:] == pytest.approx([ticks, ticks], abs=1)


def test_value_fades_with_the_wait():
    built = problem(*[request(tokens=100) for _ in range(2)], slots=1)
    terms = terms_of(built, done_worth=0.0, patience=1.0)
    # The second begins after 5 s, one horizon; a cell there is a tenth of that.
    assert value_of([0, 1], built, terms) == pytest.approx(1.0 + np.exp(-1.0), abs=0.02)


def test_whose_turn_comes_after_the_window_is_not_looked_at():
    built = problem(*[request(tokens=100) for _ in range(40)], slots=2)
    terms = terms_of(built, patience=1.0)
    _, seen, turns = walked(np.arange(40), Timetable.of(built, terms), terms)
    assert seen == pytest.approx(2 * 5, abs=2)
    assert (np.diff(turns) >= 0).all()


def test_a_slot_is_free_again_when_hope_is_lost():
    built = problem(request(tokens=500), request(tokens=1000), request(tokens=400), slots=1)
    terms = terms_of(built, patience=2.0)
    table = Timetable.of(built, terms)
    *_, turns = walked([0, 1, 2], table, terms)
    assert turns * table.tick_s == pytest.approx([0.0, 25.0, 75.0], abs=table.tick_s)
    mixed = problem(
        request(lengths=LengthDistribution([0, 1200], [1.0])),
        request(tokens=100),
        slots=1,
    )
    terms = terms_of(mixed, patience=2.0)
    table = Timetable.of(mixed, terms)
    *_, turns = walked([0, 1], table, terms)
    assert turns[1] * table.tick_s == pytest.approx(450 * 0.05, rel=0.03)


def test_losing_a_slot_costs():
    running = {"running": True, "generated": 5}
    built = problem(request(**running), request(**running), request(), slots=2)
    terms = terms_of(built, preempt_cost=3.0)
    assert value_of([0, 1, 2], built, terms) - value_of([2, 1, 0], built, terms) > 2.9


def test_a_running_request_that_is_never_reached_costs_as_much():
    running = {"running": True, "generated": 5}
    waiting = [request(tokens=500) for _ in range(9)]
    built = problem(request(**running), *waiting, slots=1)
    cheap, dear = (terms_of(built, preempt_cost=cost) for cost in (0.0, 3.0))
    last = [*range(1, 10), 0]
    assert walked(last, Timetable.of(built, dear), dear)[1] < 10
    assert value_of(last, built, cheap) - value_of(last, built, dear) == pytest.approx(3.0)


def test_prefills_wait_for_each_other():
    latency = StepLatency.linear(step_s=0.05, prompt_token_s=0.01)
    built = problem(*[request(tokens=100, prompt=100) for _ in range(3)], slots=3, latency=latency)
    terms = terms_of(built, patience=2.0)
    table = Timetable.of(built, terms)
    *_, turns = walked([0, 1, 2], table, terms)
    assert turns * table.tick_s == pytest.approx([0.0, 1.0, 2.0], abs=table.tick_s)


def test_nobody_is_worth_nothing():
    built = problem()
    terms = terms_of(built)
    assert walked([], Timetable.of(built, terms), terms)[:2] == (0.0, 0)


def test_who_needs_more_memory_than_is_free_waits_for_it():
    built = problem(*[request(tokens=100, prompt=900) for _ in range(3)], slots=8, kv_tokens=2500)
    terms = terms_of(built, done_worth=0.0, patience=10.0)
    _, _, turns = walked(np.arange(3), Timetable.of(built, terms), terms)
    # Each holds some 970 tokens for 5 s: two at once, the third after the first.
    assert turns[:2].tolist() == [0, 0]
    assert turns[2] == pytest.approx(5.0 / Timetable.of(built, terms).tick_s, abs=1)


def test_a_running_request_behind_one_that_takes_its_memory_has_to_begin_anew():
    running = request(tokens=100, prompt=900, running=True, generated=1)
    built = problem(running, request(tokens=100, prompt=900), slots=8, kv_tokens=1500)
    terms = terms_of(built, done_worth=0.0, patience=10.0)
    table = Timetable.of(built, terms)
    assert walked([0, 1], table, terms)[2][0] == 0
    stays, gives_way = value_of([0, 1], built, terms), value_of([1, 0], built, terms)
    assert stays - gives_way >= 0.9 * terms.preempt_cost


def test_where_memory_is_plenty_it_changes_nothing():
    some, more = (
        problem(*[request(tokens=100, prompt=900)] * 3, slots=2, kv_tokens=tokens)
        for tokens in (2200, 10**7)
    )
    assert terms_of(some).kv_tokens == terms_of(more).kv_tokens == np.inf
