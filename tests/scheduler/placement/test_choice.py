"""What one more request is worth to an engine, by its digest."""

import numpy as np
import pytest
from placed_engines import CHAT, CODE, Live, digest, newcomer, running

from scheduler.latency import StepLatency
from scheduler.placement.choice import Engines, Sent, gains, ranked
from scheduler.placement.config import PlacementConfig
from scheduler.placement.digest import Closed, Digest, Item
from scheduler.slo import Slo

CROWDING = PlacementConfig().crowding
SLOW = StepLatency.linear(step_s=0.2)


def judged(
    digests,
    candidate=None,
    *,
    age_s=0.0,
    sent=None,
    cached=0.0,
    done_worth=0.3,
    crowding=CROWDING,
):
    """Gains and waits of engines with these digests."""
    candidate = candidate or newcomer()
    count = len(digests)
    gain, wait_s = np.empty((2, count))
    engines = Engines(
        np.array([each.values for each in digests]),
        np.full(count, age_s),
        np.zeros((count, len(Sent))) if sent is None else np.array(sent, dtype=np.float64),
        np.full(count, cached),
    )
    gains(engines, candidate, done_worth, crowding, gain, wait_s)
    return gain, wait_s


def gain(*live, candidate=None, done_worth=0.3, **limits):
    return judged([digest(*live, **limits)], candidate, done_worth=done_worth)[0][0]


def test_an_idle_engine_gains_the_promise_and_the_work():
    assert gain() == pytest.approx(1.3)
    assert gain(done_worth=0.0) == pytest.approx(1.0)


def test_a_hopeless_request_is_worth_next_to_nothing():
    hopeless = newcomer(Slo(e2e_s=1.0))
    assert gain(candidate=hopeless) < 0.25 * gain()
    assert gain(candidate=hopeless, done_worth=0.0) == 0.0


def test_a_request_without_a_promise_is_worth_the_work_alone():
    assert gain(candidate=newcomer(Slo())) == pytest.approx(0.3)


def test_a_promise_that_is_kept_if_all_goes_well_is_worth_less_than_a_safe_one():
    # A token takes 50 ms.
    sure, likely, unlikely, never = (
        gain(candidate=newcomer(Slo(tpot_s=tpot_s)), done_worth=0.0)
        for tpot_s in (0.1, 0.058, 0.052, 0.049)
    )
    assert sure == pytest.approx(1.0)
    assert (likely, unlikely) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert never == 0.0


def test_what_it_waited_already_counts():
    late = newcomer(CODE, tokens=500, waited_s=10.0)
    assert gain(candidate=newcomer(CODE, tokens=500)) > 1.2
    assert gain(candidate=late) < 0.5


@pytest.mark.parametrize("slo", [CODE, CHAT])
def test_the_busier_the_engine_the_smaller_the_gain(slo):
    crowds = [
        [running() for _ in range(min(live, 2))] + [Live(tokens=250) for _ in range(live - 2)]
        for live in (0, 2, 6, 20)
    ]
    found, _ = judged([digest(*crowd) for crowd in crowds], newcomer(slo))
    assert found[0] > found[1]
    assert found.tolist() == sorted(found.tolist(), reverse=True)


def test_who_would_slow_others_down_past_their_promise_goes_where_it_does_not():
    shared = StepLatency.linear(step_s=0.02, decode_s=5e-3)
    tight = [running(100, slo=Slo(e2e_s=5.0)) for _ in range(4)]
    patient = [running(100, slo=Slo(e2e_s=60.0)) for _ in range(4)]
    digests = [digest(*crowd, slots=16, latency=shared) for crowd in (tight, patient)]
    candidate = newcomer(Slo(e2e_s=60.0))
    (beside_tight, beside_patient), _ = judged(digests, candidate)
    assert beside_tight < beside_patient - 0.1
    (alike, same), _ = judged(digests, candidate, crowding=0.0)
    assert alike == pytest.approx(same)


def test_nobody_loses_more_than_is_there():
    shared = StepLatency.linear(step_s=0.02, decode_s=5e-3, prompt_token_s=1e-3)
    crowd = [running(100, slo=Slo(e2e_s=5.0)) for _ in range(4)]
    (found,), _ = judged([digest(*crowd, slots=16, latency=shared)], newcomer(prompt=4000))
    assert found > -CROWDING * 1.3 * len(crowd)


def test_an_engine_whose_slots_are_free_in_time_gains_the_promise():
    free, long = gain(running(20), slots=1), gain(running(590), slots=1)
    assert free > 0.9
    assert long < 0.5 * free


def test_who_would_push_others_out_of_time_goes_where_it_does_not():
    tight = [Live(Slo(e2e_s=21.0), tokens=380) for _ in range(2)]
    patient = [Live(Slo(e2e_s=90.0), tokens=380) for _ in range(2)]
    candidate = newcomer(Slo(e2e_s=21.0), tokens=380)
    assert gain(*tight, candidate=candidate) < gain(*patient, candidate=candidate)


def test_a_slow_engine_gains_less_than_a_fast_one():
    live = [running(), running(), Live(), Live()]
    found, wait_s = judged([digest(*live), digest(*live, latency=SLOW)])
    assert found[0] > found[1]
    assert wait_s[0] < wait_s[1]


def test_equal_engines_gain_the_same_whatever_stands_beside_them():
    live = [running(), running(), Live()]
    found, _ = judged([digest(*live), digest(), digest(*live)])
    assert found[0] == found[2]


def test_an_answer_faster_than_any_engine_gives_it_has_no_chance():
    candidate = newcomer(Slo(tpot_s=0.1))
    assert gain(candidate=candidate, done_worth=0.0) == pytest.approx(1.0)
    assert gain(candidate=candidate, done_worth=0.0, latency=SLOW) == 0.0


def test_what_was_sent_since_delays_the_next_and_takes_the_slots():
    engine = digest(running(), slots=2)
    candidate = newcomer(Slo(ttft_s=1.0))
    nobody, prefilling, held = [0, 0, 0, 0], [1, 2.0, 0, 0], [1, 0, 60.0, 0]
    found, wait_s = judged([engine] * 3, candidate, sent=[nobody, prefilling, held], done_worth=0.0)
    assert found[0] > 0.9
    assert found[1] == found[2] == 0.0
    assert wait_s[1] > wait_s[0]


def test_a_turn_comes_nearer_as_a_digest_ages():
    engine = digest(running(25), running(25))
    candidate = newcomer(Slo(ttft_s=0.5))
    fresh, _ = judged([engine], candidate, done_worth=0.0)
    old, _ = judged([engine], candidate, age_s=1.0, done_worth=0.0)
    assert old[0] > fresh[0]


def test_a_prompt_in_the_prefix_cache_begins_sooner():
    slow_prefill = digest(latency=StepLatency.linear(step_s=0.05, prompt_token_s=1e-3))
    candidate = newcomer(Slo(ttft_s=1.0), prompt=2000)
    cold, _ = judged([slow_prefill], candidate, done_worth=0.0)
    warm, _ = judged([slow_prefill], candidate, cached=1500.0, done_worth=0.0)
    assert (cold[0], round(warm[0], 1)) == (0.0, 0.9)


def test_where_memory_is_short_it_waits():
    candidate = newcomer(Slo(ttft_s=1.0), prompt=5000)
    room, tight = digest(running(), kv_free=90_000), digest(running(), kv_free=100)
    found, _ = judged([room, tight], candidate, done_worth=0.0)
    assert found[0] > found[1]


def test_among_about_equal_gains_the_least_wait_comes_first():
    gain, wait_s = np.array([1.0, 1.05, 0.2, 0.6]), np.array([3.0, 9.0, 1.0, 2.0])
    assert ranked(gain, wait_s, PlacementConfig(tolerance=0.1)).tolist() == [0, 1, 3, 2]
    assert ranked(gain, wait_s, PlacementConfig(tolerance=0.0)).tolist() == [1, 0, 3, 2]


def closed(found, how=Closed.PAUSED):
    values = found.values.copy()
    values[Item.CLOSED] = how
    return Digest(values)


@pytest.mark.parametrize("how", [Closed.FULL, Closed.PAUSED])
def test_an_engine_that_admits_nobody_comes_behind_the_busiest_that_does(how):
    busy = digest(running(), running(), *[Live(tokens=2000) for _ in range(200)])
    hopeless = newcomer(Slo(e2e_s=0.5))
    for candidate in (newcomer(), hopeless):
        gain, wait_s = judged([closed(digest(), how), busy], candidate)
        assert ranked(gain, wait_s, PlacementConfig()).tolist() == [1, 0]


def test_where_nobody_admits_the_least_wait_decides():
    gain, wait_s = judged([closed(digest(running(), running())), closed(digest())])
    assert ranked(gain, wait_s, PlacementConfig()).tolist() == [1, 0]
