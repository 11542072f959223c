"""Admission by the sampled peak of KV memory."""

from dataclasses import replace

import numpy as np
import pytest

from predictor.distribution import LengthDistribution
from scheduler.latency import StepLatency
from scheduler.policies.past_future import PastFutureConfig, PastFuturePolicy, _peak
from scheduler.slo import Slo
from scheduler.snapshot import Limits
from scheduler.tracker import Arrival, Tracker

LATENCY = StepLatency.linear(step_s=0.05)
LIMITS = Limits(max_num_seqs=8, max_batched_tokens=1000, kv_tokens=1000)


class Engine:
    def __init__(self, limits=LIMITS, **config):
        self.tracker = Tracker(limits=limits)
        self.policy = PastFuturePolicy(PastFutureConfig(**config))

    def wait(self, name, *, prompt=100, most=400):
        lengths = LengthDistribution.point(1)
        at_s = float(self.tracker.arrivals)
        self.tracker.arrived(Arrival(name, at_s, prompt, most, Slo(), lengths))

    def run(self, name, *, generated=1, **changes):
        self.wait(name, **changes)
        self.tracker.scheduled({name: 10_000})
        self.tracker.tokens({name: generated}, 0.0)

    def held(self):
        snapshot = self.tracker.snapshot(now_s=99.0, latency=LATENCY)
        return "".join(self.tracker.request_ids(self.policy.step(snapshot, None).held))

    def shown(self, count, tokens):
        """Answers of so many tokens came and went."""
        for number in range(count):
            self.run(f"past{number}", generated=tokens - 1)
            self.held()
            self.tracker.finished(f"past{number}")
        self.held()


@pytest.mark.parametrize(
    ("held", "rest", "peak"),
    [
        ([100], [50], 150),
        ([100, 100], [50, 50], 300),
        # The short one ends after 10 tokens; then the long one grows alone.
        ([100, 100], [10, 500], 600),
        ([300, 100], [10, 20], 420),
    ],
)
def test_the_peak_is_reached_when_an_answer_ends(held, rest, peak):
    assert _peak(np.array(held, dtype=float), np.array(rest, dtype=float)) == peak


def test_without_history_every_answer_is_as_long_as_it_may_be():
    engine = Engine()
    for name in "abc":
        engine.wait(name)  # 500 tokens each in the end
    assert engine.held() == "c"


def test_short_answers_of_late_let_more_in():
    engine = Engine()
    engine.shown(20, 50)
    for name in "abcdefgh":
        engine.wait(name)  # 150 tokens each: six fit
    assert engine.held() == "gh"


def test_an_answer_longer_than_any_of_late_is_as_long_as_it_may_be():
    engine = Engine(replace(LIMITS, kv_tokens=700))
    engine.shown(20, 50)
    engine.run("a", generated=60)  # 160 now, 500 in the end
    for name in "bcde":
        engine.wait(name)  # 150 each
    # When b, c and d end, four have grown by 50: 660 tokens. With e it would be 810.
    assert engine.held() == "e"


def test_nobody_behind_is_admitted_before_the_one_that_does_not_fit():
    engine = Engine()
    engine.run("a")
    engine.wait("b", prompt=600)
    engine.wait("c", prompt=10, most=10)
    assert engine.held() == "bc"


def test_alone_anybody_is_let_in():
    engine = Engine(replace(LIMITS, kv_tokens=450))
    engine.wait("a")
    engine.wait("b")
    assert engine.held() == "b"


def test_full_slots_leave_nothing_to_decide():
    engine = Engine(replace(LIMITS, max_num_seqs=1))
    engine.run("a")
    engine.wait("b")
    assert engine.held() == ""


def test_the_same_snapshot_is_answered_alike():
    engine = Engine()
    engine.shown(20, 50)
    for name in "abcdefgh":
        engine.wait(name)
    assert engine.held() == engine.held()
