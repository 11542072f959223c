"""Prefill throughput as the snapshots show it."""

import pytest

from scheduler.policies.throughput import PrefillThroughput
from scheduler.tracker import Tracker


class Engine:
    """A tracker whose snapshots a throughput watches."""

    def __init__(self, limits, latency, decay=0.5):
        self.tracker = Tracker(limits=limits, capacity=4)
        self.latency = latency
        self.throughput = PrefillThroughput(tokens_per_s=1000.0, decay=decay)

    def seen(self, now_s):
        self.throughput.observe(self.tracker.snapshot(now_s=now_s, latency=self.latency))
        return self.throughput.tokens_per_s


@pytest.fixture
def engine(limits, latency):
    return Engine(limits, latency)


def test_a_step_counts_what_it_prefilled_over_its_time(engine, arrival):
    engine.tracker.arrived(arrival("a", prompt_tokens=100))
    assert engine.seen(1.0) == 1000.0
    engine.tracker.scheduled({"a": 60})
    assert engine.seen(1.1) == pytest.approx(0.5 * 1000 + 0.5 * 600)
    engine.tracker.scheduled({"a": 40})
    assert engine.seen(1.2) == pytest.approx(0.5 * 800 + 0.5 * 400)


def test_the_old_weighs_as_much_as_the_decay_says(limits, latency, arrival):
    engine = Engine(limits, latency, decay=0.995)
    engine.tracker.arrived(arrival("a", prompt_tokens=100))
    engine.seen(1.0)
    engine.tracker.scheduled({"a": 100})
    assert engine.seen(1.5) == pytest.approx(0.995 * 1000 + 0.005 * 200)


def test_decodes_and_idle_time_change_nothing(engine, arrival):
    engine.tracker.arrived(arrival("a", prompt_tokens=100))
    engine.seen(1.0)
    engine.tracker.scheduled({"a": 99})
    before = engine.seen(1.1)
    engine.tracker.scheduled({"a": 1})  # one token is a decode
    assert engine.seen(1.2) == before
    engine.tracker.finished("a")
    assert engine.seen(1.3) == before
    engine.tracker.arrived(arrival("b", arrival_s=900.0))
    assert engine.seen(900.0) == before


def test_a_preemption_is_no_prefill(engine, arrival):
    engine.tracker.arrived(arrival("a", prompt_tokens=100))
    engine.seen(1.0)
    engine.tracker.scheduled({"a": 100})
    before = engine.seen(1.1)
    engine.tracker.preempted("a")
    assert engine.seen(1.2) == before
    engine.tracker.scheduled({"a": 50})
    assert engine.seen(1.3) == pytest.approx(0.5 * before + 0.5 * 500)


def test_a_handle_given_to_another_request_starts_anew(engine, arrival):
    engine.tracker.arrived(arrival("a", arrival_s=0.0, prompt_tokens=400))
    handle = engine.tracker.handle("a")
    before = engine.seen(1.0)
    engine.tracker.finished("a")
    for number in range(4):
        engine.tracker.arrived(arrival(str(number), arrival_s=1.0 + number, prompt_tokens=10))
    engine.tracker.scheduled({"3": 5})
    assert engine.tracker.handle("3") == handle
    assert engine.seen(1.1) == before


def test_more_requests_than_before_are_no_trouble(engine, arrival):
    engine.seen(0.0)
    for number in range(40):
        engine.tracker.arrived(arrival(str(number), prompt_tokens=100))
    engine.seen(1.0)
    for number in range(40):
        engine.tracker.scheduled({str(number): 100})
    assert engine.seen(2.0) == pytest.approx(0.5 * 1000 + 0.5 * 4000)
