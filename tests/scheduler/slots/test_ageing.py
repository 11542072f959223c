"""Nothing waits for ever: the ageing bound of the flagship policy."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from slot_problems import NOW_S, read, request, snapshot, snapshots

from scheduler.policies.slotwise import SlotwisePolicy
from scheduler.slo import Slo
from scheduler.slots.config import SlotConfig


def planned_order(seen, **changes):
    policy = SlotwisePolicy(SlotConfig(time_box_s=60.0, max_moves=64, **changes))
    return policy.plan(seen, None).order.tolist()


def oldest_first(seen, overdue_s):
    """Handles of all that wait or run for longer, oldest first."""
    handles = np.append(seen.running.handle, seen.waiting.handle)
    waited_s = NOW_S - np.append(seen.running.arrival_s, seen.waiting.arrival_s)
    oldest = np.argsort(-waited_s, kind="stable")
    return [int(handles[i]) for i in oldest if waited_s[i] > overdue_s]


def served_first(seen, overdue_s, share):
    """The oldest that take one part in ``share`` of the engine together, at least one of them."""
    oldest, built = oldest_first(seen, overdue_s), read(seen)
    space = dict(zip(built.handle.tolist(), built.space, strict=True))
    taken = np.cumsum([space[handle] for handle in oldest])
    return oldest[: max(int((taken * share <= 1.0 + 1e-9).sum()), 1)]


@given(st.data(), st.integers(1, 9), st.integers(1, 8), st.floats(0.0, 22.0))
@settings(max_examples=60, deadline=None)
def test_the_overdue_have_their_share_of_the_slots_oldest_first(data, slots, share, overdue_s):
    seen = data.draw(snapshots(slots=slots))
    order = planned_order(seen, overdue_s=overdue_s, overdue_share=share)
    first = served_first(seen, overdue_s, share)
    assert order[: len(first)] == first
    assert sorted(order) == sorted([*seen.running.handle, *seen.waiting.handle])


@given(snapshots(slots=4))
@settings(max_examples=30, deadline=None)
def test_the_others_stay_in_the_order_of_the_plan(seen):
    overdue = served_first(seen, 10.0, 2)
    plan = planned_order(seen, overdue_s=np.inf)
    aged = planned_order(seen, overdue_s=10.0, overdue_share=2)
    assert aged == overdue + [handle for handle in plan if handle not in overdue]


def test_however_hopeless_the_oldest_is_served_first_once_overdue():
    hopeless = request(Slo(e2e_s=0.1), tokens=2000)
    fresh = [request(tokens=50, arrival_s=NOW_S - 1.0) for _ in range(8)]
    seen = snapshot(hopeless, *fresh, now_s=NOW_S)
    assert planned_order(seen, overdue_s=20.0)[0] == 0
    assert 0 not in planned_order(seen, overdue_s=22.0)[:2]


def test_without_tpot_and_with_memory_for_all_their_share_is_one_of_the_slots():
    seen = snapshot(*[request(arrival_s=float(k)) for k in range(12)], now_s=NOW_S, slots=8)
    assert served_first(seen, 5.0, 4) == [0, 1]


def test_where_memory_binds_their_share_is_one_of_memory():
    old = [request(tokens=100, prompt=1000, arrival_s=float(k)) for k in range(6)]
    seen = snapshot(*old, now_s=NOW_S, slots=64, kv_tokens=10_000)
    policy = SlotwisePolicy(SlotConfig(time_box_s=60.0, max_moves=64, overdue_s=5.0))
    assert policy.plan(seen, None).overdue == 1
    assert policy.plan(snapshot(*old, now_s=NOW_S, slots=64), None).overdue == 6
