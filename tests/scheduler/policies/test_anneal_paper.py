"""The published policy on snapshots."""

import numpy as np

from predictor.distribution import LengthDistribution
from scheduler.policies.anneal_paper import AnnealPaperPolicy
from scheduler.tracker import Tracker


def snapshot_of(arrival, limits, latency, lengths, now_s=1.0):
    tracker = Tracker(limits=limits)
    for number, tokens in enumerate(lengths):
        tracker.arrived(arrival(str(number), lengths=LengthDistribution.point(tokens)))
    return tracker.snapshot(now_s=now_s, latency=latency)


def test_known_short_answers_come_first(arrival, limits, latency):
    snapshot = snapshot_of(arrival, limits, latency, [500, 20, 300, 10, 400, 30])
    policy = AnnealPaperPolicy()
    plan = policy.plan(snapshot, None)
    assert sorted(plan.order.tolist()) == sorted(snapshot.waiting.handle.tolist())
    assert set(plan.order[:3].tolist()) == {1, 3, 5}
    decision = policy.step(snapshot, plan)
    assert decision.order.tolist() == plan.order.tolist()
    assert not len(decision.preempt)


def test_nobody_waiting_is_no_trouble(limits, latency):
    snapshot = Tracker(limits=limits).snapshot(now_s=0.0, latency=latency)
    policy = AnnealPaperPolicy()
    assert not len(policy.plan(snapshot, None).order)
    assert not len(policy.step(snapshot, None).order)


def test_lengths_are_drawn_not_averaged(arrival, limits, latency):
    tracker = Tracker(limits=limits)
    tracker.arrived(arrival("a"))
    snapshot = tracker.snapshot(now_s=0.0, latency=latency)
    policy = AnnealPaperPolicy()
    drawn = {float(policy._drawn_tokens(snapshot)[0]) for _ in range(20)}
    assert len(drawn) > 10
    assert min(drawn) >= 1.0
    assert all(np.isfinite(list(drawn)))
