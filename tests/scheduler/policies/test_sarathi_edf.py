"""A fixed token budget in deadline order."""

from dataclasses import replace

import numpy as np
import pytest

from scheduler.policies.sarathi_edf import SarathiEdfPolicy
from scheduler.slo import Slo
from scheduler.tracker import Tracker


def test_the_waiting_by_deadline_within_a_fixed_budget(arrival, limits, latency):
    tracker = Tracker(limits=limits)
    for name, slo in (("a", Slo()), ("b", Slo(e2e_s=30.0)), ("c", Slo(ttft_s=5.0, tpot_s=0.1))):
        tracker.arrived(arrival(name, slo=slo))
    snapshot = tracker.snapshot(now_s=1.0, latency=latency)
    decision = SarathiEdfPolicy().step(snapshot, None)
    assert tracker.request_ids(decision.order) == ["c", "b", "a"]
    assert decision.token_budget == 512
    assert SarathiEdfPolicy(token_budget=64).step(snapshot, None).token_budget == 64


def test_every_slot_gets_a_token(limits, latency):
    tracker = Tracker(limits=replace(limits, max_num_seqs=100))
    snapshot = tracker.snapshot(now_s=1.0, latency=latency)
    decision = SarathiEdfPolicy(token_budget=8).step(snapshot, None)
    assert decision.token_budget == 100
    np.testing.assert_array_equal(decision.order, [])


def test_a_budget_of_nothing_is_refused():
    with pytest.raises(ValueError, match="token_budget is 0"):
        SarathiEdfPolicy(token_budget=0)
