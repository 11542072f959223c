"""Only a promise that not even the idle machine could keep counts as lost."""

import pytest

from predictor.distribution import LengthDistribution
from scheduler.past_saving import past_saving
from scheduler.slo import Slo
from scheduler.tracker import Tracker


def lost(arrival, limits, latency, *, waited_s, may_be_cached=False, **changes):
    tracker = Tracker(limits=limits)
    tracker.arrived(arrival("a", arrival_s=0.0, **changes))
    snapshot = tracker.snapshot(now_s=waited_s, latency=latency)
    return bool(past_saving(snapshot, may_be_cached=may_be_cached)[0])


def test_a_first_token_needs_the_prompt_computed(arrival, limits, latency):
    prefill_s = latency.prefill_s(1, 100)
    asked = {"prompt_tokens": 100, "slo": Slo(ttft_s=1.0)}
    assert not lost(arrival, limits, latency, waited_s=1.0 - 1.01 * prefill_s, **asked)
    assert lost(arrival, limits, latency, waited_s=1.0 - 0.99 * prefill_s, **asked)


def test_a_prompt_that_may_be_cached_costs_next_to_nothing(arrival, limits, latency):
    asked = {"prompt_tokens": 100, "slo": Slo(ttft_s=latency.prefill_s(1, 50))}
    assert lost(arrival, limits, latency, waited_s=0.0, **asked)
    assert not lost(arrival, limits, latency, waited_s=0.0, may_be_cached=True, **asked)


def test_the_end_is_judged_by_the_shortest_length(arrival, limits, latency):
    token_s = latency.decode_s(1, 100)
    e2e_s = latency.prefill_s(1, 100) + 30.0 * token_s
    asked = {"prompt_tokens": 100, "slo": Slo(e2e_s=e2e_s)}
    either = LengthDistribution.from_samples([10, 1000])
    assert not lost(arrival, limits, latency, waited_s=0.0, lengths=either, **asked)
    long = LengthDistribution.point(1000)
    assert lost(arrival, limits, latency, waited_s=0.0, lengths=long, **asked)


@pytest.mark.parametrize("waited_s", [0.0, 1e6])
def test_who_was_promised_nothing_loses_nothing(arrival, limits, latency, waited_s):
    assert not lost(arrival, limits, latency, waited_s=waited_s, slo=Slo())


def test_who_has_a_token_is_served_to_the_end(arrival, limits, latency):
    tracker = Tracker(limits=limits)
    tracker.arrived(arrival("a", arrival_s=0.0, prompt_tokens=10, slo=Slo(ttft_s=1.0)))
    tracker.scheduled({"a": 10})
    tracker.tokens({"a": 1}, 0.5)
    tracker.preempted("a")
    assert not past_saving(tracker.snapshot(now_s=9.0, latency=latency), may_be_cached=False).any()
