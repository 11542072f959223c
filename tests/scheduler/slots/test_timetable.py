"""The timetable against its definition, read in plain Python."""

import numpy as np
import pytest
from hypothesis import given, settings
from slot_problems import STEADY, busy_problem, planned, problem, request, terms_of

from scheduler.slots.chance import outlook
from scheduler.slots.problem import Fact
from scheduler.slots.timetable import TICKS, TICKS_PER_CELL, WINDOW_HORIZONS, Timetable


def reading(built, terms, i, turn_s, prefill_s):
    """Discounted worth, and seconds of decoding, of a turn at ``turn_s``."""
    begin_s = turn_s + prefill_s
    chance, tokens = outlook(i, begin_s, built.facts, built.atoms, built.token_s)
    cost_s = built.slots * prefill_s + tokens * built.decode_s
    worth = chance + terms.done_worth - terms.price * cost_s
    return worth * np.exp(-begin_s / terms.horizon_s), tokens * built.token_s


@given(planned())
@settings(max_examples=60, deadline=None)
def test_every_cell_is_what_a_turn_in_its_middle_is_worth(given_problem):
    built, terms = given_problem
    table = Timetable.of(built, terms)
    for i in range(len(built)):
        runs = i < built.running
        prefill_s = built.facts[i, Fact.RESTART_S if runs else Fact.START_S]
        assert table.prefill[i] * table.tick_s == pytest.approx(prefill_s)
        for cell in range(table.worth.shape[1]):
            turn_s = (cell + 0.5) * TICKS_PER_CELL * table.tick_s if cell else 0.0
            worth, hold_s = reading(built, terms, i, turn_s, prefill_s)
            lost = terms.preempt_cost if runs else 0.0
            assert table.worth[i, cell] == pytest.approx(worth - lost, abs=1e-12)
            assert table.hold[i, cell] * table.tick_s == pytest.approx(hold_s)


@given(planned())
@settings(max_examples=60, deadline=None)
def test_who_stays_goes_on_at_once_and_pays_nothing(given_problem):
    built, terms = given_problem
    table = Timetable.of(built, terms)
    for i in range(built.running):
        start_s = built.facts[i, Fact.START_S]
        worth, hold_s = reading(built, terms, i, 0.0, start_s)
        assert table.stay_worth[i] == pytest.approx(worth, abs=1e-12)
        assert table.stay_hold[i] * table.tick_s == pytest.approx(hold_s)
        assert table.stay_prefill[i] * table.tick_s == pytest.approx(start_s)


def test_the_window_spans_the_horizons():
    built = problem(request(tokens=100), request(tokens=300))
    terms = terms_of(built, patience=2.0)
    assert terms.horizon_s == pytest.approx(2.0 * built.service_s)
    for ticks in (TICKS, 1024):
        table = Timetable.of(built, terms, ticks=ticks)
        assert table.worth.shape == table.hold.shape == (2, ticks // TICKS_PER_CELL)
        assert table.tick_s * ticks == pytest.approx(WINDOW_HORIZONS * terms.horizon_s)


def test_the_rows_are_those_of_the_chosen():
    built = busy_problem(1)
    terms = terms_of(built, price=0.01)
    chosen = np.append(np.arange(built.running), [11, 30, 17])
    everybody, some = Timetable.of(built, terms), Timetable.of(built, terms, chosen=chosen)
    assert some.tick_s == everybody.tick_s
    for of_some, of_all in zip(some[1:], everybody[1:], strict=True):
        np.testing.assert_array_equal(of_some, of_all[chosen])


def test_a_promise_is_worth_something_until_it_is_too_late():
    built = problem(request(tokens=400), latency=STEADY)  # takes 20 s of 30 s
    terms = terms_of(built, patience=1.0, done_worth=0.0)
    table = Timetable.of(built, terms)
    middle_s = (np.arange(table.worth.shape[1]) + 0.5) * TICKS_PER_CELL * table.tick_s
    np.testing.assert_array_equal(table.worth[0] > 0.0, middle_s <= 10.0)


def test_nobody_at_all_makes_an_empty_table():
    built = problem()
    assert Timetable.of(built, terms_of(built)).worth.shape == (0, TICKS // TICKS_PER_CELL)
