"""The timetable against its definition, read in plain Python."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slot_problems import (
    CODE,
    STEADY,
    busy_problem,
    demand_of,
    plain_push,
    planned,
    problem,
    request,
    terms_of,
)

from scheduler.slo import Slo
from scheduler.slots.chance import outlook
from scheduler.slots.price import no_demand
from scheduler.slots.problem import Fact
from scheduler.slots.timetable import TICKS, WINDOW_HORIZONS, Timetable, middles

# Four ticks, then wider by 8 % each, until the window is full: 4 (1.08^40 - 1) / 0.08 > 1024.
CELLS = 40


def reading(built, terms, i, prefill_s, *, turn_s=0.0, later=1.0):
    """Discounted worth, and seconds of decoding, of a turn planned for ``turn_s``."""
    begin_s = turn_s * later + prefill_s
    chance, tokens = outlook(i, begin_s, built.facts, built.atoms, built.token_s)
    worth = chance + terms.done_worth - terms.price * cost_of(built, i, prefill_s, tokens)
    return worth * np.exp(-(turn_s + prefill_s) / terms.horizon_s), tokens * built.token_s


def cost_of(built, i, prefill_s, tokens):
    """Slot-seconds: a prefill takes every slot, but of a stretched one's time only its part."""
    everybodys_s = built.slots * prefill_s / built.stretch
    return everybodys_s + tokens * built.facts[i, Fact.TOKEN_SLOT_S]


def push_of(built, terms, i, prefill_s):
    chance, tokens = outlook(i, prefill_s, built.facts, built.atoms, built.token_s)
    return plain_push(chance / cost_of(built, i, prefill_s, tokens), terms.demand)


def middle_of(cell, table):
    """The mean of the middles of its ticks; at once means at once."""
    ticks = np.flatnonzero(table.cell_of == cell)
    return (ticks + 0.5).sum() / len(ticks) if cell else 0.0


@given(planned())
@settings(max_examples=60, deadline=None)
def test_every_cell_is_what_a_turn_in_its_middle_is_worth(given_problem):
    built, terms = given_problem
    table = Timetable.of(built, terms)
    for i in range(len(built)):
        runs = i < built.running
        prefill_s = built.facts[i, Fact.RESTART_S if runs else Fact.START_S]
        later = push_of(built, terms, i, prefill_s)
        assert table.prefill[i] * table.tick_s == pytest.approx(prefill_s)
        for cell in range(table.worth.shape[1]):
            turn_s = middle_of(cell, table) * table.tick_s
            worth, hold_s = reading(built, terms, i, prefill_s, turn_s=turn_s, later=later)
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
        worth, hold_s = reading(built, terms, i, start_s)
        assert table.stay_worth[i] == pytest.approx(worth, abs=1e-12)
        assert table.stay_hold[i] * table.tick_s == pytest.approx(hold_s)
        assert table.stay_prefill[i] * table.tick_s == pytest.approx(start_s)


def test_the_window_spans_the_horizons():
    built = problem(request(tokens=100), request(tokens=300))
    terms = terms_of(built, patience=2.0)
    assert terms.horizon_s == pytest.approx(2.0 * built.service_s)
    table = Timetable.of(built, terms)
    assert table.worth.shape == table.hold.shape == (2, CELLS)
    assert len(table.cell_of) == TICKS
    assert table.tick_s * TICKS == pytest.approx(WINDOW_HORIZONS * terms.horizon_s)


def test_the_cells_cover_every_tick_each_wider_than_the_one_before():
    cell_of = Timetable.of(problem(), terms_of(problem())).cell_of
    assert cell_of[0] == 0
    assert set(np.diff(cell_of)) == {0, 1}
    assert cell_of[-1] == CELLS - 1
    width = np.bincount(cell_of)
    assert width[0] == 4
    # The last is cut off by the end of the window; the others are rounded to whole ticks.
    for cell, ticks in enumerate(width[:-1]):
        assert abs(ticks - 4.0 * 1.08**cell) < 1.0
    ends = np.cumsum(width[:-1])
    np.testing.assert_array_equal(ends, np.ceil(np.cumsum(4.0 * 1.08 ** np.arange(CELLS - 1))))


def test_the_middles_ascend_inside_their_cells_and_the_first_is_at_once():
    cell_of = Timetable.of(problem(), terms_of(problem())).cell_of
    middle = middles(cell_of)
    assert middle[0] == 0.0
    assert (np.diff(middle) > 0.0).all()
    for cell in range(1, CELLS):
        ticks = np.flatnonzero(cell_of == cell)
        assert middle[cell] == pytest.approx((ticks[0] + ticks[-1] + 1) / 2)


def test_the_rows_are_those_of_the_chosen():
    built = busy_problem(1)
    terms = terms_of(built, demand=demand_of((0.02, 0.4), (0.1, 0.3), price=0.01))
    chosen = np.append(np.arange(built.running), [11, 30, 17])
    everybody, some = Timetable.of(built, terms), Timetable.of(built, terms, chosen=chosen)
    assert some.tick_s == everybody.tick_s
    np.testing.assert_array_equal(some.cell_of, everybody.cell_of)
    for of_some, of_all in zip(some[2:], everybody[2:], strict=True):
        np.testing.assert_array_equal(of_some, of_all[chosen])


# 400 tokens are 20 s of a slot, and worth 1 / 20 a slot-second; the promise is 30 s.
BETTER, WORSE, HOPELESS = 0.1, 0.04, 0.0


def table_of(*wants, slo=CODE, **config):
    """The timetable of a request for 400 tokens, beside those who want slots later."""
    built = problem(request(slo, tokens=400), latency=STEADY)
    return Timetable.of(built, terms_of(built, demand=demand_of(*wants), **config))


def latest_turn_s(*wants):
    """When the last turn comes that rather keeps the promise, and how wide the cells are there."""
    table = table_of(*wants, done_worth=0.0, patience=0.3)
    middle = middles(table.cell_of)
    chance = table.worth[0] / np.exp(-middle * WINDOW_HORIZONS / TICKS)
    last = np.flatnonzero(chance >= 0.5)[-1]
    assert (chance[: last + 1] >= 0.5).all()
    return middle[last] * table.tick_s, (middle[last + 1] - middle[last]) * table.tick_s


@pytest.mark.parametrize("wants", [[], [(WORSE, 0.9)], [(WORSE, 3.0), (HOPELESS, 1.0)]])
def test_with_nobody_better_to_come_a_turn_is_worth_something_until_it_is_too_late(wants):
    at_s, cell_s = latest_turn_s(*wants)
    assert at_s == pytest.approx(10.0, abs=cell_s)
    np.testing.assert_array_equal(table_of(*wants).worth, table_of().worth)
    np.testing.assert_array_equal(table_of(*wants).hold, table_of().hold)


@pytest.mark.parametrize(
    ("wants", "latest_s"),
    [
        ([(BETTER, 0.5)], 5.0),
        ([(BETTER, 0.5), (WORSE, 0.4)], 5.0),
        ([(BETTER, 0.25), (2 * BETTER, 0.25)], 5.0),
        ([(BETTER, 0.75), (WORSE, 0.1)], 2.5),
        ([(BETTER, 0.9)], 1.0),
    ],
)
def test_the_better_ones_to_come_push_in(wants, latest_s):
    at_s, cell_s = latest_turn_s(*wants)
    assert at_s == pytest.approx(latest_s, abs=cell_s)


@pytest.mark.parametrize("above", [0.95, 1.0, 7.0])
def test_however_many_are_better_one_turn_in_twenty_is_its_own(above):
    at_s, cell_s = latest_turn_s((BETTER, above))
    assert cell_s < at_s == pytest.approx(10.0 / 20.0, abs=cell_s)


def test_equals_to_come_do_not_push_in():
    built = problem(request(tokens=400), latency=STEADY)
    _, tokens = outlook(0, 0.0, built.facts, built.atoms, built.token_s)
    mine = 1.0 / (tokens * built.facts[0, Fact.TOKEN_SLOT_S])
    np.testing.assert_array_equal(table_of((mine, 0.5)).worth, table_of().worth)
    assert (table_of((mine * 1.001, 0.5)).worth < table_of().worth).any()


def test_the_best_of_all_is_not_pushed_and_the_worst_by_everybody():
    built = problem(request(tokens=50), request(tokens=200), request(tokens=400), slots=1)
    demand = demand_of((0.15, 0.5), (0.3, 0.25))
    alone = Timetable.of(built, terms_of(built, patience=4.0))
    pushed = Timetable.of(built, terms_of(built, demand=demand, patience=4.0))
    # Worth 1 / 2.5, 1 / 10 and 1 / 20 a slot-second.
    np.testing.assert_array_equal(pushed.worth[0], alone.worth[0])
    middle_s = middles(alone.cell_of) * alone.tick_s
    lost = (pushed.worth < alone.worth)[1:]
    for row, spare_s in zip(lost, (20.0, 10.0), strict=True):
        between = (middle_s * 4.0 > spare_s) & (middle_s <= spare_s)
        assert between.any()
        np.testing.assert_array_equal(row, between)


def test_only_the_promise_is_pushed_not_what_being_done_is_worth():
    np.testing.assert_array_equal(
        table_of((BETTER, 0.9), slo=Slo()).worth, table_of(slo=Slo()).worth
    )


def test_who_keeps_its_slot_is_not_pushed():
    built = problem(request(tokens=400, running=True), latency=STEADY)
    alone, among = (
        Timetable.of(built, terms_of(built, demand=demand))
        for demand in (no_demand(), demand_of((BETTER, 0.9)))
    )
    np.testing.assert_array_equal(alone.stay_worth, among.stay_worth)
    np.testing.assert_array_equal(alone.stay_hold, among.stay_hold)
    assert (among.worth < alone.worth).any()


@given(planned(), st.floats(0.0, 0.4), st.floats(0.01, 1.0))
@settings(max_examples=30, deadline=None)
def test_more_demand_never_brings_a_turn_forward(given_problem, ratio, share):
    built, terms = given_problem
    wants = list(zip(terms.demand.ratio, -np.diff(terms.demand.above), strict=True))
    more = terms._replace(demand=demand_of(*wants, (ratio, share), price=terms.price))
    # Without a price: hope that is lost sooner costs less.
    table, busier = (Timetable.of(built, each._replace(price=0.0)) for each in (terms, more))
    assert (busier.worth <= table.worth + 1e-12).all()


def test_nobody_at_all_makes_an_empty_table():
    built = problem()
    assert Timetable.of(built, terms_of(built)).worth.shape == (0, CELLS)
