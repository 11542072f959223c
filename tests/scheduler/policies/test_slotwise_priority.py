"""A request's priority under ``slotwise``: lower numbers begin first."""

from math import inf

import numpy as np
import pytest

from predictor.distribution import LengthDistribution
from scheduler.latency import StepLatency
from scheduler.policies.slotwise import SlotwisePolicy
from scheduler.slo import Slo
from scheduler.slots.config import SlotConfig
from scheduler.snapshot import Limits
from scheduler.tracker import Arrival, Tracker

LATENCY = StepLatency.linear(step_s=0.01, decode_s=1e-3, prompt_token_s=1e-4)
LIMITS = Limits(max_num_seqs=4, max_batched_tokens=1000, kv_tokens=100_000)
POLICY = SlotConfig(time_box_s=inf, max_moves=64)
# What the policy would serve first, and last, if numbers were equal.
EASY, HARD = Slo(ttft_s=2.0, tpot_s=0.05), Slo()


def engine(*requests, limits=LIMITS):
    """Requests as (name, priority, SLO, prompt tokens), all waiting since 0 s."""
    tracker = Tracker(limits=limits)
    for name, priority, slo, prompt in requests:
        lengths = LengthDistribution.point(100)
        tracker.arrived(Arrival(name, 0.0, prompt, 4096, slo, lengths, priority))
    return tracker


def decide(tracker, policy, now_s):
    snapshot = tracker.snapshot(now_s=now_s, latency=LATENCY)
    decision = policy.step(snapshot, policy.plan(snapshot, None))
    return [*tracker.request_ids(decision.order)], set(tracker.request_ids(decision.held))


@pytest.mark.parametrize("slots", [1, 4])
def test_a_lower_number_begins_first_whatever_the_others_are_worth(slots):
    limits = Limits(max_num_seqs=slots, max_batched_tokens=1000, kv_tokens=100_000)
    tracker = engine(
        ("easy", 1, EASY, 50), ("hard", 0, HARD, 3000), ("easy too", 1, EASY, 60), limits=limits
    )
    order, held = decide(tracker, SlotwisePolicy(POLICY), 0.0)
    assert order[0] == "hard"
    assert "hard" not in held


def test_with_equal_numbers_the_policy_decides_by_value():
    tracker = engine(("hard", 3, HARD, 3000), ("easy", 3, EASY, 50))
    order, _ = decide(tracker, SlotwisePolicy(POLICY), 0.0)
    assert order[0] == "easy"


def test_a_plan_is_not_needed_for_it():
    tracker = engine(("later", 1, EASY, 50), ("first", 0, HARD, 50))
    snapshot = tracker.snapshot(now_s=0.0, latency=LATENCY)
    decision = SlotwisePolicy(POLICY).step(snapshot, None)
    assert tracker.request_ids(decision.order) == ["first", "later"]


def test_past_the_ageing_bound_a_higher_number_comes_in():
    tracker = Tracker(limits=LIMITS)
    lengths = LengthDistribution.point(100)
    tracker.arrived(Arrival("old", 0.0, 50, 4096, HARD, lengths, 9))
    for number in range(20):
        tracker.arrived(Arrival(f"n{number}", 399.0, 50, 4096, EASY, lengths, 0))
    policy = SlotwisePolicy(POLICY)
    snapshot = tracker.snapshot(now_s=400.0, latency=LATENCY)
    plan = policy.plan(snapshot, None)
    assert tracker.request_ids(plan.order)[0] == "old"
    steps = [policy.step(snapshot, plan) for _ in range(POLICY.overdue_share)]
    fronts = {tracker.request_ids(step.order)[0] for step in steps}
    assert "old" in fronts


def test_in_every_step_of_a_run_nobody_begins_before_a_lower_number():
    """Random requests come and go; whoever begins has the lowest number of those that wait."""
    rng = np.random.default_rng(3)
    tracker, policy, plan = Tracker(limits=LIMITS), SlotwisePolicy(POLICY), None
    numbers, seen, version = {}, 0, -1
    for step in range(500):
        now_s = 0.02 * step
        if rng.random() < 0.3:
            name = f"r{step}"
            numbers[name] = int(rng.integers(0, 3))
            slo = EASY if rng.random() < 0.5 else HARD
            tokens = LengthDistribution.point(int(rng.integers(1, 8)))
            prompt = int(rng.integers(1, 900))
            tracker.arrived(Arrival(name, now_s, prompt, 64, slo, tokens, numbers[name]))
        snapshot = tracker.snapshot(now_s=now_s, latency=LATENCY)
        if not len(snapshot.waiting) and not len(snapshot.running):
            continue
        if snapshot.version != version:
            plan, version = policy.plan(snapshot, plan), snapshot.version
        decision = policy.step(snapshot, plan)
        waiting = set(tracker.request_ids(snapshot.waiting.handle))
        begins = computed(tracker, snapshot, decision)
        left = waiting - begins
        for name in begins & waiting:
            assert all(numbers[name] <= numbers[other] for other in left)
            seen += len(left) > 0
    assert seen > 30


def computed(tracker, snapshot, decision):
    """Carry a step out as an engine does; the names of who computed something."""
    for name in tracker.request_ids(decision.preempt):
        tracker.preempted(name)
    budget = decision.token_budget or LIMITS.max_batched_tokens
    held = {*tracker.request_ids(decision.held), *tracker.request_ids(decision.preempt)}
    running = tracker.request_ids(snapshot.running.handle)
    left = dict(zip(running, snapshot.running.prefill_left, strict=True))
    tokens = {}
    order = running if decision.running is None else tracker.request_ids(decision.running)
    for name in [*order, *(n for n in running if n not in order)]:
        if name not in held and budget > 0:
            tokens[name] = min(int(max(left[name], 1)), budget)
            budget -= tokens[name]
    free = LIMITS.max_num_seqs - len(running) + len(decision.preempt)
    prompts = dict(
        zip(
            tracker.request_ids(snapshot.waiting.handle),
            snapshot.waiting.prefill_left,
            strict=True,
        )
    )
    for name in tracker.request_ids(decision.order):
        if name in held or name in tokens or free < 1 or budget < 1:
            continue
        tokens[name] = min(int(prompts[name]), budget)
        budget -= tokens[name]
        free -= 1
    tracker.scheduled(tokens)
    after = tracker.snapshot(now_s=snapshot.now_s, latency=LATENCY).running
    done = [
        name
        for name, rest in zip(tracker.request_ids(after.handle), after.prefill_left, strict=True)
        if name in tokens and rest <= 0
    ]
    tracker.tokens(dict.fromkeys(done, 1), snapshot.now_s)
    for name in done:
        if tracker.generated(name) >= 20:
            tracker.finished(name)
    return set(tokens)
