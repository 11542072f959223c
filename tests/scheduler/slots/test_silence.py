"""A stream that has begun is not silent for long, and nobody is preempted over and over."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest
from slot_problems import STEADY, read, request, snapshot

from predictor.distribution import LengthDistribution
from scheduler.driver import MAX_PLAN_AGE_S, Driver
from scheduler.latency import StepLatency
from scheduler.policies.slotwise import SlotwisePolicy
from scheduler.simulator.engine import EngineRules, SimulatedEngine
from scheduler.simulator.request import SimRequest
from scheduler.simulator.step_time import StepTime
from scheduler.slo import Slo
from scheduler.slots.config import SlotConfig
from scheduler.slots.silence import in_front, silent_streams, who_yields
from scheduler.snapshot import Limits

CONFIG = SlotConfig(time_box_s=inf, max_moves=32, silence_s=6.0)
NOBODY = np.empty(0, dtype=np.int64)
# 20 ms a step, 1 ms a decode, 0.1 ms a prompt token.
LATENCY = StepLatency.linear(step_s=0.02, decode_s=1e-3, prompt_token_s=1e-4)


class Watched:
    """A policy, and the longest silence of a begun stream that it was shown."""

    name = "watched"

    def __init__(self, policy):
        self.policy, self.longest_s = policy, 0.0

    def plan(self, seen, previous):
        return self.policy.plan(seen, previous)

    def step(self, seen, plan):
        for table in (seen.waiting, seen.running):
            silent_s = seen.now_s - table.last_token_s[table.generated > 0]
            self.longest_s = max(self.longest_s, silent_s.max(initial=0.0))
        return self.policy.step(seen, plan)


def overload(seed, *, count, gap_s, tokens):
    """Chats that can be in time push in on streams with no SLO or a lost one."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        length = int(np.clip(rng.lognormal(np.log(tokens), 0.7), 2, 900))
        slo = [Slo(ttft_s=1.0, tpot_s=0.1), Slo(), Slo(ttft_s=3.0), Slo(e2e_s=6.0)][number % 4]
        forecast = LengthDistribution.from_samples(
            np.clip(length * rng.lognormal(0.0, 0.8, 40), 1.0, 900.0)
        )
        yield SimRequest(str(number), number * gap_s, 100, length, slo, forecast)


def simulated(requests, *, slots, config=CONFIG, kv_tokens=None):
    limits = Limits(slots, 1000, 10**6 if kv_tokens is None else kv_tokens)
    policy = Watched(SlotwisePolicy(config))
    engine = SimulatedEngine(
        driver=Driver(policy=policy, limits=limits, latency=LATENCY, time_box_s=inf),
        limits=limits,
        step_time=StepTime.of_latency(LATENCY),
        rules=EngineRules(),
        memory_bound=kv_tokens is not None,
    )
    for each in requests:
        engine.run_until(each.arrival_s)
        engine.submit(each)
    engine.run_until(inf)
    return policy.longest_s, engine.outcomes()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("slots", [1, 2, 8])
def test_in_deep_overload_no_begun_stream_is_silent_beyond_the_bound(slots, seed):
    requests = list(overload(seed, count=60 * slots, gap_s=1.0 / slots, tokens=80))
    longest_s, outcomes = simulated(requests, slots=slots)
    assert len(outcomes) == len(requests)
    assert longest_s <= CONFIG.silence_s + MAX_PLAN_AGE_S


@pytest.mark.parametrize("seed", range(2))
def test_nor_where_memory_is_short(seed):
    requests = list(overload(seed, count=300, gap_s=0.15, tokens=120))
    longest_s, outcomes = simulated(requests, slots=16, kv_tokens=1600)
    assert len(outcomes) == len(requests)
    assert longest_s <= CONFIG.silence_s + MAX_PLAN_AGE_S


def test_without_the_bound_they_are_and_are_preempted_more_often():
    requests = list(overload(0, count=480, gap_s=0.125, tokens=80))
    free = replace(CONFIG, silence_s=inf, most_preemptions=10**9)
    longest_s, _ = simulated(requests, slots=8, config=free)
    assert longest_s > 3 * CONFIG.silence_s


@pytest.mark.parametrize("most", [0, 1, 2])
def test_where_streams_end_soon_nobody_is_preempted_more_often_than_that(most):
    requests = list(overload(1, count=400, gap_s=0.1, tokens=60))
    config = replace(CONFIG, most_preemptions=most)
    _, outcomes = simulated(requests, slots=8, config=config)
    assert max(outcome.preemptions for outcome in outcomes) <= most


def streams(seen, config=CONFIG):
    return silent_streams(seen, read(seen), config)


def paused(last_s, **changes):
    """One whose 20 tokens came out at ``last_s``; 100 tokens of prompt."""
    return request(Slo(), preempted=True, generated=20, first_s=last_s, prompt=100, **changes)


def test_the_longest_silent_come_first_and_must_have_a_slot_from_half_of_the_bound_on():
    seen = snapshot(
        request(running=True, generated=5, first_s=9.9),
        paused(9.0),
        paused(7.5),
        paused(6.5),
        request(),
        now_s=10.0,
        latency=STEADY,
    )
    found = streams(seen)
    # The problem counts the running first.
    assert found.first.tolist() == [3, 2]
    assert found.forced == 1
    assert in_front(found.first, np.arange(5)).tolist() == [3, 2, 0, 1, 4]


def test_a_stream_that_computes_its_context_again_stays_in_front_and_keeps_its_slot():
    again = paused(9.9, recomputed=30)
    seen = snapshot(again, request(running=True, generated=5), now_s=10.0)
    found = streams(seen)
    assert (found.first.tolist(), found.forced) == ([0], 1)
    handles = seen.running.handle
    assert who_yields(seen, handles, handles[:1], NOBODY, CONFIG).tolist() == []


def test_the_more_has_to_be_computed_again_the_sooner_a_stream_is_back():
    slow = StepLatency.linear(step_s=0.05, prompt_token_s=0.02)
    seen = snapshot(paused(9.0), now_s=10.0, latency=slow)
    assert streams(seen).forced == 1
    assert streams(snapshot(paused(9.0), now_s=10.0, latency=STEADY)).forced == 0


def test_who_was_preempted_often_enough_is_spared():
    tired = [paused(9.9, recomputed=120) for _ in range(2)]
    seen = snapshot(*tired, request(), now_s=10.0, slots=2)
    order = np.array([2, 0, 1])
    config = replace(CONFIG, most_preemptions=1)
    assert who_yields(seen, order, np.array([1]), NOBODY, config).tolist() == []
    assert who_yields(seen, order, np.array([1]), NOBODY, CONFIG).tolist() == [1]


def test_no_more_streams_are_paused_than_can_be_brought_back():
    running = [request(running=True, generated=9, first_s=9.9) for _ in range(8)]
    seen = snapshot(*running, *[request() for _ in range(8)], now_s=10.0, slots=8)
    order = np.concatenate([np.arange(8, 16), np.arange(8)])
    # A quarter of the slots; the last of the order go first.
    assert sorted(who_yields(seen, order, np.arange(8), NOBODY, CONFIG)) == [6, 7]
    already = snapshot(*running, paused(9.9), paused(9.9), now_s=10.0, slots=8)
    assert who_yields(already, order, np.arange(8), NOBODY, CONFIG).tolist() == []


def test_who_has_no_token_out_yet_can_always_go():
    running = [request(running=True, computed=3) for _ in range(4)]
    seen = snapshot(*running, *[request() for _ in range(4)], now_s=10.0, slots=4)
    order = np.array([4, 5, 6, 7, 0, 1, 2, 3])
    assert len(who_yields(seen, order, np.arange(4), NOBODY, CONFIG)) == 4


def test_for_a_forced_stream_the_last_of_those_preempted_least_often_goes():
    running = [
        request(running=True, generated=9, first_s=9.9),
        request(running=True, generated=9, first_s=9.9),
        paused(9.9, recomputed=120),
    ]
    seen = snapshot(*running, paused(1.0), now_s=10.0, slots=3)
    order, forced = np.array([3, 0, 1, 2]), np.array([3])
    assert who_yields(seen, order, NOBODY, forced, CONFIG).tolist() == [1]


def test_for_a_forced_stream_memory_is_made_as_well():
    running = [request(running=True, generated=9, first_s=9.9, prompt=60) for _ in range(3)]
    seen = snapshot(*running, paused(1.0), now_s=10.0, slots=8)
    order, forced = np.array([3, 0, 1, 2]), np.array([3])
    assert who_yields(seen, order, NOBODY, forced, CONFIG).tolist() == []
    short = replace(seen, kv_tokens_free=50)
    assert who_yields(short, order, NOBODY, forced, CONFIG).tolist() == [2, 1]
