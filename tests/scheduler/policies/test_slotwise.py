"""The steps that ``slotwise`` constructs: on snapshots, and in the simulator."""

from dataclasses import replace
from math import inf

import numpy as np
import policy_snapshots
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from predictor.distribution import LengthDistribution
from scheduler.driver import Driver
from scheduler.latency import StepLatency
from scheduler.policies.slotwise import SlotwisePolicy
from scheduler.registry import create_policy
from scheduler.simulator.engine import EngineRules, SimulatedEngine
from scheduler.simulator.request import SimRequest
from scheduler.simulator.step_time import StepTime
from scheduler.slo import Slo
from scheduler.slots.config import SlotConfig
from scheduler.snapshot import Limits

# 10 ms a step, 1 ms an answer, 0.1 ms a prompt token.
LATENCY = StepLatency.linear(step_s=0.01, decode_s=1e-3, prompt_token_s=1e-4)
LIMITS = Limits(max_num_seqs=4, max_batched_tokens=1000, kv_tokens=100_000)
CHAT, BATCH = Slo(ttft_s=2.0, tpot_s=0.05), Slo()
NAMES = ("slotwise", "slotwise[due]", "slotwise[newcomers]", "slotwise[due+newcomers]")
REPEATABLE = SlotConfig(time_box_s=inf, max_moves=64, chunk_margin=1.0)


def tracker_of(*requests, limits=LIMITS):
    return policy_snapshots.tracker_of(*requests, limits=limits)


def decided(tracker, now_s, policy=None):
    policy = policy or SlotwisePolicy(REPEATABLE)
    return policy_snapshots.decided(policy, tracker, now_s=now_s, latency=LATENCY)


class TestSteps:
    def test_answers_come_first_then_prompts_by_deadline(self):
        tracker = tracker_of(
            ("a", 0.0, 900, CHAT, 100, 0),
            ("b", 0.0, 100, CHAT, 100, 1),
            ("c", -1.0, 500, CHAT, 100, 0),
        )
        decision, names = decided(tracker, 0.12)
        assert names(decision.running) == "bca"
        assert not decision.stands

    def test_a_long_prompt_sits_out_for_a_pressing_newcomer(self):
        tracker = tracker_of(
            ("a", 0.0, 5000, Slo(ttft_s=5.0), 1000, 0),
            ("b", 0.0, 100, Slo(ttft_s=0.05), None, 0),
        )
        decision, names = decided(tracker, 0.0)
        assert names(decision.held) == "a"
        assert names(decision.order) == "b"
        # 100 tokens in 20 ms; a step of more than 400 would be late.
        assert 100 <= decision.token_budget <= 400

    def test_nobody_sits_out_where_all_fit(self):
        tracker = tracker_of(
            ("a", 0.0, 500, CHAT, 100, 0),
            ("b", 0.0, 100, CHAT, None, 0),
        )
        decision, _ = decided(tracker, 0.0)
        assert len(decision.held) == 0
        assert decision.token_budget >= 500

    def test_of_those_past_saving_one_is_begun_after_the_other(self):
        late = Slo(ttft_s=0.1)
        tracker = tracker_of(
            ("a", -9.0, 5000, late, 1000, 0),
            ("b", -9.0, 3000, late, None, 0),
            ("c", 0.0, 200, CHAT, None, 0),
        )
        decision, names = decided(tracker, 0.0)
        assert names(decision.order)[0] == "c"
        assert "b" in names(decision.held)

    def test_nobody_sits_out_for_one_whom_memory_has_no_room_for(self):
        tracker = tracker_of(
            ("a", 0.0, 5000, Slo(ttft_s=5.0), 1000, 0),
            ("b", 0.0, 100, Slo(ttft_s=0.05), None, 0),
        )
        policy = SlotwisePolicy(REPEATABLE)
        snapshot = tracker.snapshot(now_s=0.0, latency=LATENCY, kv_tokens_free=110)
        plan = replace(policy.plan(snapshot, None), held=np.empty(0, dtype=np.int64))
        assert "a" not in "".join(tracker.request_ids(policy.step(snapshot, plan).held))

    def test_an_end_to_end_promise_counts_the_tokens_at_the_pace_of_now(self):
        # With all 256 slots decoding 100 tokens would take 26 s; alone they take 1.1.
        limits = Limits(max_num_seqs=256, max_batched_tokens=1000, kv_tokens=100_000)
        tracker = tracker_of(
            ("a", 0.0, 5000, Slo(ttft_s=9.0), 1000, 0),
            ("b", 0.0, 500, Slo(e2e_s=5.0), None, 0),
            limits=limits,
        )
        decision, names = decided(tracker, 0.0)
        assert names(decision.held) == "a"

    def test_a_stream_that_was_preempted_is_back_before_those_past_saving(self):
        tracker = tracker_of(
            ("a", 0.0, 900, CHAT, 900, 30),
            ("b", -9.0, 100, CHAT, None, 0),
        )
        tracker.preempted("a")
        decision, names = decided(tracker, 1.7)
        assert names(decision.order) == "ab"

    def test_an_answer_behind_its_pace_does_not_cost_the_prompts_their_hope(self):
        # It has nothing to spare now and much to catch up with; 1,300 tokens take 140 ms.
        tracker = tracker_of(
            ("a", 0.0, 10, CHAT, 10, 20),
            ("b", 0.0, 1300, Slo(ttft_s=2.1), None, 0),
        )
        decision, _ = decided(tracker, 1.1)
        assert decision.token_budget > 150
        assert len(decision.held) == 0

    def test_without_prompts_the_answer_stands_with_room_for_a_newcomer(self):
        tracker = tracker_of(("a", 0.0, 100, CHAT, 100, 5))
        decision, _ = decided(tracker, 0.3)
        assert decision.stands
        # The sixth token is due 0.25 s after the first, at 0.35 s.
        assert 1 < decision.token_budget <= 1 + 390

    def test_a_full_engine_is_not_asked_for_every_step(self):
        running = [(name, 0.0, 10, CHAT, 10, 5) for name in "abcd"]
        tracker = tracker_of(*running, ("e", 0.0, 10, BATCH, None, 0))
        assert decided(tracker, 0.3)[0].stands

    def test_the_same_snapshot_has_the_same_decision(self):
        tracker = tracker_of(
            ("a", 0.0, 900, CHAT, 100, 0),
            ("b", 0.0, 100, CHAT, 100, 1),
            *[(name, 0.0, 300, CHAT, None, 0) for name in "cdefgh"],
        )
        first, second = (decided(tracker, 0.12)[0] for _ in range(2))
        for one, other in ((first.order, second.order), (first.held, second.held)):
            assert one.tolist() == other.tolist()
        assert first.token_budget == second.token_budget


def simulate(policy, requests, *, asynchronous=False, limits=LIMITS):
    driver = Driver(policy=policy, limits=limits, latency=LATENCY, time_box_s=inf)
    engine = SimulatedEngine(
        driver=driver,
        limits=limits,
        step_time=StepTime.of_latency(LATENCY),
        rules=EngineRules(asynchronous=asynchronous),
    )
    for request in requests:
        engine.run_until(request.arrival_s)
        engine.submit(request)
    engine.run_until(inf)
    assert driver.fallbacks == 0
    return engine


def arriving(*rows):
    """Rows of (arrival, prompt, answer, slo)."""
    return [
        SimRequest(str(k), at_s, prompt, answer, slo, LengthDistribution.point(answer))
        for k, (at_s, prompt, answer, slo) in enumerate(rows)
    ]


ARRIVALS = st.lists(
    st.tuples(
        st.floats(0.0, 2.0),
        st.integers(1, 2500),
        st.integers(1, 60),
        st.sampled_from([CHAT, BATCH, Slo(ttft_s=0.2), Slo(e2e_s=3.0)]),
    ),
    min_size=1,
    max_size=12,
).map(lambda rows: sorted(rows, key=lambda row: row[0]))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("asynchronous", [False, True])
@given(rows=ARRIVALS)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_everybody_is_served_and_whoever_is_let_compute_can(name, asynchronous, rows):
    engine = simulate(
        create_policy(name, repeatable=True), arriving(*rows), asynchronous=asynchronous
    )
    assert len(engine.outcomes()) == len(rows)
    assert engine.overruled == 0


def test_newcomers_seen_before_shorten_the_steps_of_a_long_prompt():
    hurried = [(0.5 * k, 50, 2, Slo(ttft_s=0.08)) for k in range(40)]
    long = [(20.0, 20_000, 2, Slo(ttft_s=60.0))]
    last = [(20.05 + 0.2 * k, 50, 2, Slo(ttft_s=0.08)) for k in range(5)]
    met = {}
    for name in ("slotwise", "slotwise[due+reserve]"):
        engine = simulate(create_policy(name, repeatable=True), arriving(*hurried, *long, *last))
        outcomes = {o.request.request_id: o for o in engine.outcomes()}
        met[name] = sum(outcomes[str(41 + k)].met for k in range(5))
        assert outcomes["40"].met
    assert met["slotwise"] == 5
    assert met["slotwise[due+reserve]"] < 5


@given(rows=st.lists(st.tuples(st.integers(1, 900), st.integers(2, 60)), min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_answers_are_never_late_for_prompts_that_nobody_waits_for(rows):
    # With the exact model, and nobody whose promise could be kept at the cost of theirs.
    chats = [(0.0, prompt, answer, CHAT) for prompt, answer in rows]
    batch = [(0.1 * k, 800, 5, BATCH) for k in range(6)]
    limits = Limits(max_num_seqs=16, max_batched_tokens=1000, kv_tokens=100_000)
    rows = sorted(chats + batch, key=lambda row: row[0])
    policy = SlotwisePolicy(REPEATABLE)
    for outcome in simulate(policy, arriving(*rows), limits=limits).outcomes():
        if outcome.request.slo == CHAT:
            assert outcome.met


def test_plain_numbers_of_a_decision():
    decision, _ = decided(tracker_of(("a", 0.0, 10, CHAT, None, 0)), 0.0)
    assert isinstance(decision.token_budget, int)
    assert decision.order.dtype == np.int64


@pytest.mark.parametrize(("overdue_s", "waits_for_the_last"), [(5.0, False), (1e9, True)])
def test_who_waits_too_long_has_a_share_of_the_steps(overdue_s, waits_for_the_last):
    # Chats that can all be in time keep the engine full; nothing was promised to the first.
    chats = [(0.1 * k, 850, 2, CHAT) for k in range(600)]
    config = replace(REPEATABLE, overdue_s=overdue_s)
    engine = simulate(SlotwisePolicy(config), arriving((0.0, 3000, 2, BATCH), *chats))
    ended_s = {o.request.request_id: o.request.arrival_s + o.e2e_s for o in engine.outcomes()}
    assert (ended_s["0"] > 50.0) == waits_for_the_last
