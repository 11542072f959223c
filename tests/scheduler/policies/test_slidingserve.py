"""SlidingServe whole and in parts: on snapshots, and in the simulator with the exact model."""

from math import inf

import numpy as np
import policy_snapshots
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from predictor.distribution import LengthDistribution
from scheduler.driver import Driver
from scheduler.latency import StepLatency
from scheduler.policies.slidingserve import SlidingServePolicy
from scheduler.registry import create_policy
from scheduler.simulator.engine import EngineRules, SimulatedEngine
from scheduler.simulator.request import SimRequest
from scheduler.simulator.state import Log
from scheduler.simulator.step_time import StepTime
from scheduler.sliding.batch import batch_of
from scheduler.sliding.chunker import chunk_bound_s
from scheduler.sliding.config import SlidingConfig
from scheduler.slo import Slo
from scheduler.snapshot import Limits

# 10 ms a step, 1 ms an answer, 0.1 ms a prompt token.
LATENCY = StepLatency.linear(step_s=0.01, decode_s=1e-3, prompt_token_s=1e-4, squared_token_s=1e-8)
LIMITS = Limits(max_num_seqs=4, max_batched_tokens=1000, kv_tokens=100_000)
CHAT, CODE = Slo(ttft_s=2.0, tpot_s=0.05), Slo(e2e_s=10.0)
NAMES = (
    "slidingserve",
    "slidingserve[chunker]",
    "slidingserve[sorter]",
    "slidingserve[constructor]",
    "slidingserve[chunker+sorter]",
    "slidingserve[chunker+constructor]",
)


class Watched(SlidingServePolicy):
    """Notes until when each step may last for the answers that can still be in time."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.bound_s = {}

    def step(self, snapshot, plan):
        batch = batch_of(snapshot, self._config)
        self.bound_s[snapshot.now_s] = chunk_bound_s(batch, snapshot.latency)
        return super().step(snapshot, plan)


def tracker_of(*requests, limits=LIMITS):
    return policy_snapshots.tracker_of(*requests, limits=limits)


def decided(tracker, now_s, policy=None):
    policy = policy or SlidingServePolicy()
    return policy_snapshots.decided(policy, tracker, now_s=now_s, latency=LATENCY)


def test_answers_come_first_then_prompts_by_the_sorter():
    tracker = tracker_of(
        ("a", 0.0, 900, CHAT, 100, 0),
        ("b", 0.0, 100, CHAT, 100, 1),
        ("c", 0.0, 500, CHAT, 100, 0),
        ("d", 0.0, 120, CHAT, None, 0),
    )
    decision, names = decided(tracker, 0.12)
    assert names(decision.running) == "bca"
    assert names(decision.order) == "d"
    # Its next token is due at 0.15 s: 19 ms for prompts. d is short, so the others sit out.
    assert 150 < decision.token_budget < 191
    assert set(names(decision.held)) == {"a", "c"}
    assert not decision.stands


def test_without_answers_the_engine_is_full():
    tracker = tracker_of(("a", 0.0, 900, CHAT, None, 0))
    assert decided(tracker, 0.0)[0].token_budget == 1000


def test_without_prompts_a_decision_stands():
    tracker = tracker_of(("a", 0.0, 100, CHAT, 100, 5))
    decision, _ = decided(tracker, 0.2)
    assert decision.stands
    assert decision.token_budget == 1  # who comes meanwhile is asked for first


def test_a_risky_prompt_is_computed_whole_and_nobody_else():
    tracker = tracker_of(
        ("a", 0.0, 900, CHAT, 100, 0),  # 800 left: 80 ms
        ("b", -1.93, 400, CHAT, None, 0),  # due at 0.07 s: 50 ms
        ("c", 0.0, 600, CHAT, None, 0),
    )
    decision, names = decided(tracker, 0.0)
    assert set(names(decision.held)) == {"a", "c"}
    assert decision.token_budget == 400
    off = SlidingServePolicy(parts=create_policy("slidingserve[chunker+sorter]")._parts)
    assert decided(tracker, 0.0, off)[0].token_budget == 1000


def test_the_missed_are_relegated():
    tracker = tracker_of(("a", -3.0, 10, CHAT, None, 0), ("b", 0.0, 900, CHAT, None, 0))
    decision, names = decided(tracker, 0.0)
    assert (names(decision.order), names(decision.relegated)) == ("ba", "a")


@pytest.mark.parametrize("name", NAMES)
def test_the_same_snapshot_gives_the_same_decision(name):
    tracker = tracker_of(
        ("a", 0.0, 900, CHAT, 100, 0), ("b", 0.0, 100, CODE, 100, 3), ("c", 0.0, 90, CHAT, None, 0)
    )
    one, two = (decided(tracker, 0.3, create_policy(name))[0] for _ in range(2))
    for field in ("order", "running", "held", "relegated"):
        assert getattr(one, field).tolist() == getattr(two, field).tolist()
    assert one.token_budget == two.token_budget


requests = st.lists(
    st.tuples(
        st.floats(0.0, 0.4),
        st.integers(1, 2500),
        st.integers(1, 40),
        st.sampled_from([CHAT, CODE, Slo(), Slo(ttft_s=0.3, tpot_s=0.02)]),
    ),
    min_size=1,
    max_size=12,
)


def simulate(policy, drawn, *, kv_tokens=100_000, asynchronous=False):
    limits = Limits(max_num_seqs=4, max_batched_tokens=1000, kv_tokens=kv_tokens)
    driver = Driver(policy=policy, limits=limits, latency=LATENCY, time_box_s=inf)
    # What the engine shows must not bend the exact model.
    driver._refit.observe_all = lambda steps: None
    engine = SimulatedEngine(
        driver=driver,
        limits=limits,
        step_time=StepTime.of_latency(LATENCY),
        rules=EngineRules(asynchronous=asynchronous),
    )
    at_s = 0.0
    for number, (gap_s, prompt, tokens, slo) in enumerate(drawn):
        at_s += gap_s
        engine.run_until(at_s)
        lengths = LengthDistribution.point(tokens)
        engine.submit(SimRequest(str(number), at_s, prompt, tokens, slo, lengths))
    engine.run_until(inf)
    assert driver.fallbacks == 0
    assert len(engine.outcomes()) == len(drawn)
    return engine.steps()


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(requests, st.booleans(), st.booleans())
def test_no_chunk_of_ours_makes_a_safe_token_late(drawn, strict, from_first):
    config = SlidingConfig(strict_window=strict, from_first_token=from_first)
    policy = Watched(config)
    steps = simulate(policy, drawn)
    checked = 0
    for start_s, step_s in steps[:, [Log.START_S, Log.STEP_S]]:
        if start_s in policy.bound_s:
            checked += 1
            assert step_s <= policy.bound_s[start_s] + 1e-9
    assert checked


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(requests, st.sampled_from(NAMES), st.sampled_from([2560, 100_000]), st.booleans())
def test_no_step_is_empty_while_somebody_could_run(drawn, name, kv_tokens, asynchronous):
    steps = simulate(create_policy(name), drawn, kv_tokens=kv_tokens, asynchronous=asynchronous)
    assert (steps[:, Log.PREFILL_TOKENS] + steps[:, Log.DECODES] > 0).all()
    if not asynchronous:
        # One step follows the other until nobody is left who could run.
        idle = steps[1:, Log.START_S] - steps[:-1, Log.START_S] - steps[:-1, Log.STEP_S]
        arrivals = np.cumsum([gap_s for gap_s, *_ in drawn])
        for at_s in steps[1:, Log.START_S][idle > 1e-9]:
            assert np.isclose(arrivals, at_s).any()
