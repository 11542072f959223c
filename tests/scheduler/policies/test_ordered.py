"""Policies that are one sort key."""

import pytest

from predictor.distribution import LengthDistribution
from scheduler.registry import create_policy
from scheduler.slo import Slo
from scheduler.tracker import Tracker

CHAT, CODE = Slo(ttft_s=5.0, tpot_s=0.1), Slo(e2e_s=30.0)


@pytest.fixture
def served(arrival, limits, latency):
    """The ids of the waiting in the order in which a policy serves them."""

    def order(policy_name, now_s, tracker):
        snapshot = tracker.snapshot(now_s=now_s, latency=latency)
        decision = create_policy(policy_name).step(snapshot, None)
        return "".join(tracker.request_ids(decision.order))

    return order


@pytest.fixture
def waiting(arrival, limits):
    """A tracker of requests a, b, c, ... given as (arrival, tokens, slo)."""

    def make(*requests):
        tracker = Tracker(limits=limits)
        for name, (arrival_s, tokens, slo) in zip("abcdefgh", requests, strict=False):
            known = LengthDistribution.point(tokens)
            tracker.arrived(arrival(name, arrival_s=arrival_s, lengths=known, slo=slo))
        return tracker

    return make


class TestShortestFeasibleFirst:
    """Four slots at 40 ms a token and a prefill of 58 ms."""

    def test_the_shortest_come_first(self, served, waiting):
        tracker = waiting((0.0, 300, CODE), (0.1, 20, CODE), (0.2, 100, CHAT))
        assert served("shortest-feasible-first", 1.0, tracker) == "bca"

    def test_who_cannot_keep_its_promise_stands_behind_however_short(self, served, waiting):
        tracker = waiting((0.0, 20, CODE), (25.0, 500, CODE), (0.0, 10, CHAT))
        assert served("shortest-feasible-first", 29.5, tracker) == "bca"

    def test_a_ttft_promise_needs_the_prefill_alone(self, served, waiting):
        tracker = waiting((0.0, 20, CODE), (0.0, 900, CHAT), (0.0, 800, CODE))
        assert served("shortest-feasible-first", 4.9, tracker) == "abc"
        assert served("shortest-feasible-first", 4.99, tracker) == "acb"

    def test_who_was_promised_nothing_waits_with_the_lost(self, served, waiting):
        tracker = waiting((0.0, 20, Slo()), (0.0, 100, CODE), (0.0, 10, CHAT))
        assert served("shortest-feasible-first", 20.0, tracker) == "bca"

    def test_a_first_token_that_came_in_time_stays_in_time(self, served, waiting):
        tracker = waiting((0.0, 90, CHAT), (0.0, 100, CHAT), (19.0, 200, CHAT))
        for name, first_s in (("a", 7.0), ("b", 3.0)):
            tracker.scheduled({name: 100})
            tracker.tokens({name: 5}, first_s)
            tracker.preempted(name)
        assert served("shortest-feasible-first", 20.0, tracker) == "bca"


class TestEarliestDeadlineFirst:
    def test_a_preempted_stream_is_due_with_its_next_token(self, served, waiting):
        tracker = waiting((0.0, 90, CHAT), (2.9, 100, CHAT), (3.1, 100, CHAT))
        tracker.scheduled({"a": 100})
        tracker.tokens({"a": 40}, 4.0)  # 40 tokens of 0.1 s after 4.0 s: due at 8.0 s
        tracker.preempted("a")
        assert served("edf", 7.0, tracker) == "bac"  # the others at 7.9 s and 8.1 s


class TestUnpredictedBoost:
    def test_the_largest_share_used_comes_first(self, served, waiting):
        tracker = waiting((0.0, 1, CODE), (3.0, 1, CHAT), (2.0, 1, CHAT))  # 4/30, 1/5, 2/5
        assert served("unpredicted-boost", 4.0, tracker) == "cba"

    def test_the_late_stand_behind_everybody_by_arrival(self, served, waiting):
        tracker = waiting(
            (0.0, 1, CHAT), (0.5, 1, CODE), (20.0, 1, CHAT), (10.0, 1, Slo()), (29.0, 1, CHAT)
        )
        assert served("unpredicted-boost", 31.0, tracker) == "edabc"

    def test_no_forecast_is_read(self, served, waiting):
        one = waiting((0.0, 1, CODE), (0.1, 500, CODE), (3.0, 2, CHAT))
        other = waiting((0.0, 500, CODE), (0.1, 1, CODE), (3.0, 400, CHAT))
        orders = {served("unpredicted-boost", 4.0, tracker) for tracker in (one, other)}
        assert orders == {"cab"}

    def test_after_the_first_token_the_end_to_end_target_counts(self, served, waiting):
        both = Slo(ttft_s=5.0, e2e_s=30.0)
        tracker = waiting((0.0, 90, both), (15.0, 90, CODE), (7.0, 90, CODE))
        tracker.scheduled({"a": 100})
        tracker.tokens({"a": 5}, 3.0)
        tracker.preempted("a")
        assert served("unpredicted-boost", 20.0, tracker) == "acb"


@pytest.mark.parametrize("name", ["shortest-feasible-first", "unpredicted-boost", "lsf"])
def test_nobody_waiting_is_no_trouble(served, limits, name):
    assert served(name, 0.0, Tracker(limits=limits)) == ""
