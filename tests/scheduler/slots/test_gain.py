"""What one more request is worth to an engine."""

import numpy as np
import pytest
from slot_problems import CHAT, CODE, request, snapshot

from scheduler.latency import StepLatency
from scheduler.slo import Slo
from scheduler.slots.config import SlotConfig
from scheduler.slots.gain import prospects

LATEST_S = 1.0


def engine(*others, newcomer=None, **limits):
    """An engine as the newcomer would find it."""
    newcomer = request() if newcomer is None else newcomer
    newcomer.arrival_s = LATEST_S
    return snapshot(*others, newcomer, now_s=LATEST_S, **limits)


def gains_of(engines, config=None):
    return [prospect.gain for prospect in prospects(engines, config)]


def gain(*others, config=None, **more):
    return gains_of([engine(*others, **more)], config)[0]


def running(tokens=500):
    return request(tokens=tokens, running=True, generated=5)


def test_an_idle_engine_gains_the_promise_and_the_work():
    assert gain() == pytest.approx(1.3)
    assert gain(config=SlotConfig(done_worth=0.0)) == pytest.approx(1.0)


def test_a_hopeless_request_is_worth_next_to_nothing():
    promising, hopeless = request(), request(Slo(e2e_s=1.0))
    assert gain(newcomer=hopeless) < 0.25 * gain(newcomer=promising)
    assert gain(newcomer=hopeless, config=SlotConfig(done_worth=0.0)) == 0.0


def test_a_request_without_a_promise_is_worth_the_work_alone():
    assert gain(newcomer=request(Slo())) == pytest.approx(0.3)


@pytest.mark.parametrize("slo", [CODE, CHAT])
def test_the_busier_the_engine_the_smaller_the_gain(slo):
    engines = [
        engine(
            *[running() for _ in range(min(live, 2))],
            *[request(tokens=250) for _ in range(live - 2)],
            newcomer=request(slo),
        )
        for live in (0, 2, 6, 20)
    ]
    gains = gains_of(engines)
    assert gains[0] > gains[1]
    assert gains == sorted(gains, reverse=True)


def test_an_engine_whose_slots_are_free_in_time_gains_the_promise():
    free, long = gain(running(20), slots=1), gain(running(590), slots=1)
    assert free > 0.9
    assert long < 0.5 * free


def test_who_would_push_others_out_of_time_goes_where_it_does_not():
    tight = [request(Slo(e2e_s=21.0), tokens=380) for _ in range(2)]
    patient = [request(Slo(e2e_s=90.0), tokens=380) for _ in range(2)]
    newcomer = request(Slo(e2e_s=21.0), tokens=380)
    among_tight, among_patient = (
        gains_of([engine(*others, newcomer=newcomer)])[0] for others in (tight, patient)
    )
    assert among_tight < among_patient


def test_gains_are_never_below_standing_last():
    for tokens in (5, 100, 590, 900):
        others = [running(), running(), *[request(tokens=300) for _ in range(10)]]
        assert gain(*others, newcomer=request(tokens=tokens)) >= 0.0


def test_a_slow_engine_gains_less_than_a_fast_one():
    slow = StepLatency.linear(step_s=0.2)
    others = [running(), running(), request(), request()]
    fast, slower = gains_of([engine(*others), engine(*others, latency=slow)])
    assert fast > slower


def test_equal_engines_gain_the_same_whatever_stands_beside_them():
    others = [running(), running(), request()]
    alike = gains_of([engine(*others), engine(), engine(*others)])
    assert alike[0] == alike[2]


def test_the_horizon_is_that_of_the_slowest():
    others = [running(), running(), request()]
    slow = StepLatency.linear(step_s=0.5, prompt_token_s=1e-3)
    alone = gains_of([engine(*others)])[0]
    beside = gains_of([engine(*others), engine(latency=slow)])[0]
    assert beside > alone


def test_planning_for_others_is_no_worse_with_more_slots():
    others = [request(tokens=250) for _ in range(6)]
    gains = [gain(*others, slots=slots) for slots in (1, 2, 4, 8)]
    assert np.all(np.diff(gains) >= -0.02)
    assert gains[-1] > gains[0]


def test_the_wait_for_tokens_grows_with_the_crowd_and_with_a_slower_engine():
    slow = StepLatency.linear(step_s=0.2)
    idle, busy, slower = prospects(
        [engine(), engine(running(), request()), engine(running(), request(), latency=slow)]
    )
    assert idle.token_wait_s == pytest.approx(0.05)
    assert busy.token_wait_s == pytest.approx(3 * 0.05)
    assert slower.token_wait_s == pytest.approx(3 * 0.2)
