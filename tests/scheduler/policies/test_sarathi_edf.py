"""A fixed token budget in deadline order."""

from dataclasses import replace

import pytest
from policy_snapshots import decided, tracker_of

from scheduler.latency import StepLatency
from scheduler.policies.sarathi_edf import SarathiEdfPolicy
from scheduler.slo import Slo
from scheduler.snapshot import Limits
from scheduler.tracker import Tracker

LATENCY = StepLatency.linear(step_s=0.01, decode_s=1e-3, prompt_token_s=1e-4)
LIMITS = Limits(max_num_seqs=4, max_batched_tokens=1000, kv_tokens=100_000)
CHAT = Slo(ttft_s=2.0, tpot_s=0.05)


def test_the_waiting_by_deadline_within_a_fixed_budget(arrival, limits, latency):
    tracker = Tracker(limits=limits)
    for name, slo in (("a", Slo()), ("b", Slo(e2e_s=30.0)), ("c", Slo(ttft_s=5.0, tpot_s=0.1))):
        tracker.arrived(arrival(name, slo=slo))
    snapshot = tracker.snapshot(now_s=1.0, latency=latency)
    decision = SarathiEdfPolicy().step(snapshot, None)
    assert tracker.request_ids(decision.order) == ["c", "b", "a"]
    assert decision.token_budget == 512
    assert SarathiEdfPolicy(token_budget=64).step(snapshot, None).token_budget == 64


def test_every_decode_gets_a_token_however_small_the_budget():
    decoding = [(name, 0.0, 20, CHAT, 20, 5) for name in "abc"]
    tracker = tracker_of(*decoding, ("d", 0.0, 50, CHAT, None, 0), limits=LIMITS)
    decision, names = decided(SarathiEdfPolicy(token_budget=2), tracker, now_s=1.0, latency=LATENCY)
    assert decision.token_budget == 3
    assert names(decision.running) == "abc"


def test_the_engines_own_limit_stands():
    tracker = tracker_of(("a", 0.0, 900, CHAT, None, 0), limits=LIMITS)
    decision, _ = decided(SarathiEdfPolicy(5000), tracker, now_s=1.0, latency=LATENCY)
    assert decision.token_budget == 1000


def test_begun_prefills_are_computed_by_deadline():
    tracker = tracker_of(
        ("a", 0.0, 900, CHAT, 100, 0),  # due at 2 s
        ("b", 0.0, 900, Slo(ttft_s=1.0), 100, 0),
        ("c", 0.0, 20, CHAT, 20, 5),
        limits=LIMITS,
    )
    decision, names = decided(SarathiEdfPolicy(), tracker, now_s=0.5, latency=LATENCY)
    assert names(decision.running) == "cba"
    assert not len(decision.held)
    assert not decision.stands


def test_a_begun_prefill_sits_out_for_a_waiting_one_with_an_earlier_deadline():
    requests = (("a", 0.0, 900, CHAT, 100, 0), ("b", 0.0, 50, Slo(ttft_s=1.0), None, 0))
    tracker = tracker_of(*requests, limits=LIMITS)
    decision, names = decided(SarathiEdfPolicy(), tracker, now_s=0.5, latency=LATENCY)
    assert (names(decision.order), names(decision.held)) == ("b", "a")
    # Where both fit into the step, both are computed.
    decision, names = decided(SarathiEdfPolicy(900), tracker, now_s=0.5, latency=LATENCY)
    assert names(decision.held) == ""
    # And where no slot is free, nobody makes room for it.
    full = tracker_of(*requests, limits=replace(LIMITS, max_num_seqs=1))
    decision, names = decided(SarathiEdfPolicy(), full, now_s=0.5, latency=LATENCY)
    assert names(decision.held) == ""


def test_a_budget_of_nothing_is_refused():
    with pytest.raises(ValueError, match="token_budget is 0"):
        SarathiEdfPolicy(token_budget=0)
