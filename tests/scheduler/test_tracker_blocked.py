"""Requests that cannot be admitted stand in no snapshot, and come back as old as they are."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.distribution import LengthDistribution
from predictor.errors import SnapshotError
from scheduler.blocked import Blocked
from scheduler.latency import StepLatency
from scheduler.slo import Slo
from scheduler.snapshot import Limits
from scheduler.tracker import Arrival, Tracker

LATENCY = StepLatency.linear(step_s=1.0)


def arrives(name, at_s=0.0):
    return Arrival(name, at_s, 100, 8, Slo(), LengthDistribution.point(8))


def waiting(tracker):
    snapshot = tracker.snapshot(now_s=9.0, latency=LATENCY)
    assert snapshot.waiting.handle.tolist() == tracker.waiting_handles().tolist()
    return tracker.request_ids(snapshot.waiting.handle)


def test_a_request_that_was_blocked_has_the_place_of_its_age(limits):
    tracker = Tracker(limits=limits)
    for at_s, name in enumerate("abc"):
        tracker.arrived(arrives(name, at_s))
    tracker.blocked("b", Blocked.ADAPTER)
    assert waiting(tracker) == ["a", "c"]
    assert tracker.reason("b") is Blocked.ADAPTER
    tracker.unblocked("b")
    assert waiting(tracker) == ["a", "b", "c"]
    assert tracker.reason("b") is None


def test_nobody_plans_for_a_request_that_is_blocked_from_the_start(limits):
    tracker = Tracker(limits=limits)
    before = tracker.version
    tracker.arrived(arrives("a"), blocked=Blocked.GRAMMAR)
    assert (tracker.version, tracker.arrivals) == (before, 0)
    tracker.finished("a")
    assert (tracker.version, len(tracker)) == (before, 0)
    tracker.arrived(arrives("b"), blocked=Blocked.GRAMMAR)
    tracker.unblocked("b")
    # For the driver it is a newcomer: one version, one arrival.
    assert (tracker.version, tracker.arrivals) == (before + 1, 1)
    tracker.blocked("b", Blocked.KV)
    tracker.unblocked("b")
    assert tracker.arrivals == 1


def test_the_engine_may_admit_whom_the_picture_has_blocked(limits):
    tracker = Tracker(limits=limits)
    tracker.arrived(arrives("a"), blocked=Blocked.SKIPPED)
    tracker.scheduled({"a": 60})
    running = tracker.snapshot(now_s=0.0, latency=LATENCY).running
    assert running.prefill_left.tolist() == [40.0]
    assert tracker.arrivals == 1
    with pytest.raises(SnapshotError, match="runs: it cannot be blocked"):
        tracker.blocked("a", Blocked.KV)


def test_while_admission_is_closed_nobody_waits(limits):
    tracker = Tracker(limits=limits)
    tracker.arrived(arrives("a"))
    tracker.arrived(arrives("b"), blocked=Blocked.KV)
    version = tracker.version
    tracker.closed = Blocked.PAUSED
    assert tracker.version > version
    assert waiting(tracker) == []
    assert not tracker.admissible("a")
    assert tracker.snapshot(now_s=0.0, latency=LATENCY).left_out == 0
    counts = tracker.blocked_by_reason()
    assert (counts[Blocked.PAUSED], counts[Blocked.KV], counts[Blocked.GRAMMAR]) == (1, 1, 0)
    tracker.closed = None
    assert waiting(tracker) == ["a"]
    assert tracker.admissible("a")
    assert not tracker.admissible("b")


def test_other_limits_make_a_plan_stale_and_the_same_do_not(limits):
    tracker = Tracker(limits=limits)
    version = tracker.version
    tracker.limits = replace(limits)
    assert tracker.version == version
    tracker.limits = replace(limits, max_num_seqs=1)
    assert tracker.version > version
    assert tracker.snapshot(now_s=0.0, latency=LATENCY).limits.max_num_seqs == 1


def test_a_turn_of_a_session_computes_what_is_new(limits):
    tracker = Tracker(limits=limits)
    tracker.arrived(replace(arrives("a"), cached_tokens=70))
    assert tracker.snapshot(now_s=0.0, latency=LATENCY).waiting.prefill_left.tolist() == [30.0]
    tracker.set_prefill_left("a", 12)
    assert tracker.snapshot(now_s=0.0, latency=LATENCY).waiting.prefill_left.tolist() == [12.0]


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(
            ["arrive", "arrive_blocked", "block", "unblock", "admit", "preempt", "finish", "close"]
        ),
        st.sampled_from("abcdef"),
    ),
    max_size=60,
)


@given(EVENTS)
def test_random_events_agree_with_plain_sets(events):
    tracker, states, closed = Tracker(limits=Limits(4, 512, 10_000), capacity=2), {}, False
    order: list[str] = []
    for at_s, (event, name) in enumerate(events):
        state = states.get(name)
        if event.startswith("arrive") and state is None:
            reason = Blocked.KV if event == "arrive_blocked" else None
            tracker.arrived(arrives(name, at_s), blocked=reason)
            states[name] = "waits" if reason is None else "blocked"
            order.append(name)
        elif event == "block" and state in ("waits", "blocked"):
            tracker.blocked(name, Blocked.GRAMMAR)
            states[name] = "blocked"
        elif event == "unblock" and state is not None:
            tracker.unblocked(name)
            states[name] = "waits" if state == "blocked" else state
        elif event == "admit" and state is not None:
            tracker.scheduled({name: 1})
            states[name] = "runs"
        elif event == "preempt" and state == "runs":
            tracker.preempted(name)
            states[name] = "waits"
        elif event == "finish" and state is not None:
            tracker.finished(name)
            del states[name]
            order.remove(name)
        elif event == "close":
            closed = not closed
            tracker.closed = Blocked.PAUSED if closed else None
        come = [] if closed else [each for each in order if states[each] == "waits"]
        assert waiting(tracker) == come
        assert [each for each in order if tracker.runs(each)] == [
            each for each in order if states[each] == "runs"
        ]
        assert tracker.blocked_requests == sum(state == "blocked" for state in states.values())
        assert set(tracker.live) == set(states)
