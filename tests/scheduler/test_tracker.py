"""The tracker against a plain model of the same engine."""

import random

import numpy as np
import pytest

from predictor.distribution import LengthDistribution
from predictor.errors import SnapshotError
from scheduler.tracker import Tracker


def test_an_arrival_waits_with_everything_known_of_it(arrival, limits, latency):
    tracker = Tracker(limits=limits)
    handle = tracker.arrived(arrival("a", arrival_s=3.0, prompt_tokens=70, priority=2))
    snapshot = tracker.snapshot(now_s=5.0, latency=latency)
    assert snapshot.waiting.handle.tolist() == [handle]
    assert len(snapshot.running) == 0
    assert snapshot.waiting.arrival_s[0] == 3.0
    assert snapshot.waiting.prefill_left[0] == 70
    assert snapshot.waiting.priority[0] == 2
    assert snapshot.waiting.e2e_s[0] == 30.0
    assert np.isinf(snapshot.waiting.ttft_s[0])
    assert np.isnan(snapshot.waiting.first_token_s[0])


def test_the_length_table_holds_the_forecast(arrival, limits, latency):
    tracker = Tracker(limits=limits)
    handle = tracker.arrived(arrival("a", lengths=LengthDistribution.point(37)))
    lengths = tracker.snapshot(now_s=0.0, latency=latency).lengths
    assert np.interp(36, lengths.edges[handle], lengths.cdf[handle]) == 0
    assert np.interp(37, lengths.edges[handle], lengths.cdf[handle]) == 1


def test_a_preempted_request_computes_everything_again(arrival, limits, latency):
    tracker = Tracker(limits=limits)
    tracker.arrived(arrival("a", prompt_tokens=100))
    tracker.scheduled({"a": 100})
    tracker.tokens({"a": 1}, 2.0)
    tracker.scheduled({"a": 1})
    tracker.tokens({"a": 1}, 3.0)
    tracker.preempted("a")
    waiting = tracker.snapshot(now_s=4.0, latency=latency).waiting
    assert waiting.prefill_left[0] == 102
    assert waiting.generated[0] == 2
    assert waiting.first_token_s[0] == 2.0
    assert waiting.preemptions[0] == 1


def test_a_preempted_request_waits_at_its_arrival(arrival, limits, latency):
    tracker = Tracker(limits=limits)
    tracker.arrived(arrival("a", arrival_s=1.0))
    tracker.scheduled({"a": 100})
    tracker.arrived(arrival("b", arrival_s=2.0))
    tracker.preempted("a")
    handles = tracker.snapshot(now_s=3.0, latency=latency).waiting.handle.tolist()
    assert [tracker.request_id(handle) for handle in handles] == ["a", "b"]


def test_only_comings_and_goings_change_the_version(arrival, limits):
    tracker = Tracker(limits=limits)
    tracker.arrived(arrival("a"))
    before = tracker.version
    tracker.scheduled({"a": 100})
    tracker.tokens({"a": 1}, 1.0)
    assert tracker.version == before
    tracker.finished("a")
    assert tracker.version > before


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("scheduled", ({"live": 1, "ghost": 1},)),
        ("tokens", ({"live": 1, "ghost": 1}, 0.0)),
        ("preempted", ("ghost",)),
        ("finished", ("ghost",)),
    ],
)
def test_events_of_unknown_requests_are_errors_and_change_nothing(
    call, arguments, arrival, limits, latency
):
    tracker = Tracker(limits=limits)
    tracker.arrived(arrival("live"))
    before = tracker.snapshot(now_s=0.0, latency=latency)
    with pytest.raises(SnapshotError, match="'ghost' is not live"):
        getattr(tracker, call)(*arguments)
    after = tracker.snapshot(now_s=0.0, latency=latency)
    np.testing.assert_array_equal(after.waiting.values, before.waiting.values)


def test_a_token_that_was_under_way_when_its_request_was_preempted_shows(arrival, limits, latency):
    tracker = Tracker(limits=limits)
    tracker.arrived(arrival("a", prompt_tokens=100))
    tracker.scheduled({"a": 100})
    tracker.preempted("a")
    assert tracker.snapshot(now_s=1.0, latency=latency).waiting.generated[0] == 0
    tracker.tokens({"a": 1}, 1.5)
    waiting = tracker.snapshot(now_s=2.0, latency=latency).waiting
    assert (waiting.generated[0], waiting.first_token_s[0]) == (1, 1.5)
    assert waiting.prefill_left[0] == 101


def test_impossible_events_are_errors(arrival, limits):
    tracker = Tracker(limits=limits)
    tracker.arrived(arrival("a"))
    with pytest.raises(SnapshotError, match="arrived twice"):
        tracker.arrived(arrival("a"))
    with pytest.raises(SnapshotError, match="does not run"):
        tracker.preempted("a")
    with pytest.raises(SnapshotError, match="names no live request"):
        tracker.request_id(99_999)


def test_a_snapshot_does_not_change_afterwards(arrival, limits, latency):
    tracker = Tracker(limits=limits)
    tracker.arrived(arrival("a"))
    snapshot = tracker.snapshot(now_s=0.0, latency=latency)
    tracker.scheduled({"a": 100})
    tracker.tokens({"a": 5}, 1.0)
    assert snapshot.waiting.generated[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        snapshot.waiting.values[:] = 0.0


@pytest.mark.parametrize("seed", range(5))
def test_random_events_agree_with_a_plain_model(seed, arrival, limits, latency):
    rng = random.Random(seed)
    tracker = Tracker(limits=limits, capacity=4)
    waiting: dict[str, list[float]] = {}
    running: dict[str, list[float]] = {}
    for step in range(2000):
        event = rng.choice(["arrive", "schedule", "token", "preempt", "finish"])
        if event == "arrive":
            name, prompt = f"r{step}", rng.randint(1, 300)
            tracker.arrived(arrival(name, arrival_s=float(step), prompt_tokens=prompt))
            waiting[name] = [prompt, prompt, 0]
        elif event == "schedule" and waiting:
            name = rng.choice(list(waiting))
            running[name] = waiting.pop(name)
            tokens = rng.randint(1, 300)
            tracker.scheduled({name: tokens})
            running[name][1] = max(running[name][1] - tokens, 0)
        elif event == "token" and running:
            name = rng.choice(list(running))
            tracker.tokens({name: 1}, float(step))
            running[name][2] += 1
        elif event == "preempt" and running:
            name = rng.choice(list(running))
            tracker.preempted(name)
            waiting[name] = running.pop(name)
            waiting[name][1] = waiting[name][0] + waiting[name][2]
        elif event == "finish" and running:
            name = rng.choice(list(running))
            tracker.finished(name)
            del running[name]
        snapshot = tracker.snapshot(now_s=float(step), latency=latency)
        for table, model in ((snapshot.waiting, waiting), (snapshot.running, running)):
            names = [tracker.request_id(handle) for handle in table.handle.tolist()]
            assert sorted(names) == sorted(model)
            assert [[model[n][1], model[n][2]] for n in names] == [
                list(pair) for pair in zip(table.prefill_left, table.generated, strict=True)
            ]
        assert (np.diff(snapshot.waiting.arrival_s) >= 0).all()
        assert len(tracker) == len(waiting) + len(running)
