from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from placed_engines import Live, digest, newcomer, pictured, running, snapshot, tracked

from predictor.errors import InputError
from scheduler.blocked import Blocked
from scheduler.latency import StepLatency
from scheduler.placement.choice import prefill_seconds, token_seconds
from scheduler.placement.digest import PLACES, SIZE, Closed, Digest, Item, places
from scheduler.slo import Slo

ENGINE = StepLatency.linear(
    step_s=0.03, decode_s=1e-3, context_token_s=1e-7, prompt_token_s=1e-3, squared_token_s=1e-7
)


def turns(found):
    return found.values[Item.TURNS : Item.TURNS + PLACES]


def tolls(found):
    return found.values[Item.TOLLS :]


def test_an_idle_engine_serves_at_once_and_nobody_minds():
    found = digest(latency=ENGINE)
    assert not turns(found).any()
    assert not tolls(found).any()
    assert found.values[Item.LIVE] == found.values[Item.SERVICE_S] == 0


def test_its_costs_are_those_of_the_latency_model():
    values = digest(latency=ENGINE).values
    assert prefill_seconds(values, 500.0) == pytest.approx(0.5 + 1e-7 * 500**2)
    assert token_seconds(values, 1.0, 1000.0) == pytest.approx(0.03 + 1e-3 + 1e-4)


def test_further_back_is_later_and_costs_the_others_less():
    found = digest(running(), running(), *[Live(tokens=300) for _ in range(20)])
    assert (np.diff(turns(found)) >= 0).all()
    assert turns(found)[0] < turns(found)[-1]
    assert tolls(found)[0] > tolls(found)[-1] == 0.0


def slowdown(latency, *live):
    return digest(*live, slots=16, latency=latency).values[Item.SLOWDOWN]


def test_slower_tokens_cost_those_who_are_just_in_time():
    shared = StepLatency.linear(step_s=0.02, decode_s=5e-3)
    tight = [running(100, slo=Slo(e2e_s=5.0)) for _ in range(4)]
    patient = [running(100, slo=Slo(e2e_s=60.0)) for _ in range(4)]
    assert slowdown(shared, *tight) > 100 * slowdown(shared, *patient)


def test_promises_that_break_a_little_later_are_in_danger_already():
    # A token takes 40 ms; one more like them would make it 45, and 50 are promised.
    shared = StepLatency.linear(step_s=0.02, decode_s=5e-3)
    flowing = [running(100, slo=Slo(tpot_s=0.05)) for _ in range(4)]
    unhurried = [running(100, slo=Slo(tpot_s=0.2)) for _ in range(4)]
    assert slowdown(shared, *flowing) > 1.0
    assert slowdown(shared, *unhurried) == 0.0


def test_nobody_can_slow_an_engine_down_whose_steps_always_take_the_same():
    assert slowdown(StepLatency.linear(step_s=0.05), running(100, slo=Slo(e2e_s=5.0))) == 0.0


def test_places_double_up_to_the_end():
    assert places(0).tolist() == [0] * PLACES
    assert places(5).tolist() == [0, 1, 2, 4, *[5] * (PLACES - 4)]
    assert places(10_000).tolist()[-2:] == [512, 10_000]


@given(
    st.lists(
        st.builds(
            Live,
            tokens=st.integers(1, 2000),
            running=st.booleans(),
            prompt=st.integers(1, 1500),
        ),
        max_size=40,
    ),
    st.integers(1, 64),
)
def test_whatever_lives_on_it_every_number_is_finite_and_none_below_zero(live, slots):
    found = digest(*live, slots=slots, latency=ENGINE)
    assert np.isfinite(found.values).all()
    assert (found.values >= 0).all()
    assert found.values[Item.LIVE] == len(live)


def test_those_that_a_shortlist_left_out_live_as_well():
    seen = replace(snapshot(running()), left_out=7)
    assert Digest.of(seen).values[Item.LIVE] == 8


def test_those_that_cannot_be_admitted_live_as_well():
    tracker = tracked(running(), Live(), Live())
    tracker.blocked("1", Blocked.GRAMMAR)
    assert Digest.of(pictured(tracker)).values[Item.LIVE] == 3
    tracker.closed = Blocked.PAUSED
    assert Digest.of(pictured(tracker)).values[Item.LIVE] == 3


@pytest.mark.parametrize(
    ("reason", "now", "once_idle"),
    [
        (None, Closed.OPEN, Closed.OPEN),
        (Blocked.CAPACITY, Closed.FULL, Closed.OPEN),
        (Blocked.PAUSED, Closed.PAUSED, Closed.PAUSED),
    ],
)
def test_an_engine_says_that_it_admits_nobody(reason, now, once_idle):
    tracker = tracked(running())
    tracker.closed = reason
    found = Digest.of(pictured(tracker))
    assert found.values[Item.CLOSED] == now
    assert found.idle().values[Item.CLOSED] == once_idle
    assert Digest.from_bytes(found.to_bytes()).paused == (reason is Blocked.PAUSED)


def test_bytes_there_and_back():
    found = digest(running(), Live())
    again = Digest.from_bytes(found.to_bytes())
    np.testing.assert_array_equal(again.values, found.values)
    assert len(found.to_bytes()) == 8 * SIZE


def test_once_everybody_has_left_an_engine_is_as_if_nobody_had_come():
    tight = [running(slo=Slo(tpot_s=0.04), prompt=400) for _ in range(4)]
    busy = digest(*tight, slots=8, latency=ENGINE, kv_free=600_000)
    assert busy.values[Item.PREFILL_SLOTS] < 8
    idle = digest(slots=8, latency=ENGINE)
    np.testing.assert_allclose(busy.idle().values, idle.values, rtol=1e-12)


@pytest.mark.parametrize("raw", [b"", b"other", b"x" * 8, np.full(SIZE, np.nan).tobytes()])
def test_what_another_release_wrote_is_refused(raw):
    with pytest.raises(InputError, match="same release"):
        Digest.from_bytes(raw)


def test_a_snapshot_is_only_read():
    seen = snapshot(running(), Live())
    before = seen.waiting.values.copy()
    Digest.of(seen)
    np.testing.assert_array_equal(seen.waiting.values, before)
    assert newcomer().mean_tokens == 100
