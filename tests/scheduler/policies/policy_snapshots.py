"""Engines at one moment, made by hand, for the tests of policies."""

from predictor.distribution import LengthDistribution
from scheduler.tracker import Arrival, Tracker


def tracker_of(*requests, limits):
    """Requests as (name, arrival, prompt, slo, computed tokens or None if waiting, generated)."""
    tracker = Tracker(limits=limits)
    for name, arrival_s, prompt, slo, computed, generated in requests:
        lengths = LengthDistribution.point(100)
        tracker.arrived(Arrival(name, arrival_s, prompt, 4096, slo, lengths))
        if computed is not None:
            tracker.scheduled({name: computed})
            if generated:
                tracker.tokens({name: generated}, arrival_s + 0.1)
    return tracker


def decided(policy, tracker, *, now_s, latency):
    """What the policy decides then, and how to read handles as names."""
    snapshot = tracker.snapshot(now_s=now_s, latency=latency)
    decision = policy.step(snapshot, policy.plan(snapshot, None))

    def names(handles):
        return "".join(tracker.request_ids(handles))

    return decision, names
