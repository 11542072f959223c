import numpy as np
import pytest

from predictor.distribution import LengthDistribution
from scheduler.decision import StepDecision
from scheduler.latency import StepLatency
from scheduler.slo import Slo
from scheduler.slots.outcome import outcome
from scheduler.snapshot import Limits
from scheduler.tracker import Arrival, Tracker

# A token takes 10 ms, a prefill 100 ms on top.
LATENCY = StepLatency.linear(step_s=0.01, prefill_step_s=0.11)


def tracker_with(*requests: tuple[str, Slo, int], running: int = 0, slots: int = 1) -> Tracker:
    tracker = Tracker(limits=Limits(slots, 8192, 10**6))
    for number, (name, slo, tokens) in enumerate(requests):
        lengths = LengthDistribution.point(tokens)
        tracker.arrived(Arrival(name, 0.0, 10, 4096, slo, lengths))
        if number < running:
            tracker.scheduled({name: 10})
    return tracker


def decided(tracker: Tracker, **parts: list[str]) -> StepDecision:
    handles = {
        part: np.array([tracker.handle(name) for name in names], dtype=np.int64)
        for part, names in parts.items()
    }
    return StepDecision(**handles)


def test_one_slot_serves_one_after_the_other():
    tracker = tracker_with(
        ("runs", Slo(), 100), ("a", Slo(e2e_s=100.0), 50), ("b", Slo(e2e_s=1.2), 50), running=1
    )
    snapshot = tracker.snapshot(now_s=0.0, latency=LATENCY)
    found = outcome(snapshot, decided(tracker, order=["a", "b"]))
    assert tracker.request_ids(found.handle) == ["runs", "a", "b"]
    assert found.runs.tolist() == [True, False, False]
    assert found.begin_s[1] >= found.end_s[0]
    assert found.turn_s[2] == pytest.approx(found.end_s[1])
    assert np.isnan(found.chance[0])
    assert found.chance[1] == 1.0
    assert found.chance[2] == 0.0  # too late behind the others
    assert found.chance_now[2] == 1.0  # but in time by itself
    assert found.attainment == pytest.approx(0.5)


def test_held_ones_come_last_and_preempted_ones_are_computed_anew():
    tracker = tracker_with(
        ("out", Slo(e2e_s=9.0), 100), ("a", Slo(), 10), ("b", Slo(), 10), running=1
    )
    snapshot = tracker.snapshot(now_s=0.0, latency=LATENCY)
    decision = decided(tracker, order=["a", "b", "out"], preempt=["out"], held=["a"])
    found = outcome(snapshot, decision)
    assert tracker.request_ids(found.handle) == ["b", "out", "a"]
    assert not found.runs.any()
    assert found.turn_s[0] == 0.0


def test_nothing_promised_has_no_attainment():
    tracker = tracker_with(("a", Slo(), 10))
    snapshot = tracker.snapshot(now_s=0.0, latency=LATENCY)
    assert outcome(snapshot, decided(tracker, order=["a"])).attainment is None


def test_nobody_there():
    tracker = tracker_with()
    found = outcome(tracker.snapshot(now_s=0.0, latency=LATENCY), decided(tracker, order=[]))
    assert len(found.handle) == 0
    assert found.attainment is None
