"""Nothing waits for ever, and the old take no more than their share of the engine."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slot_problems import NOW_S, problem, request, snapshot, snapshots

from scheduler.policies.slotwise import SlotwisePolicy
from scheduler.slo import Slo
from scheduler.slots.ageing import Ageing, engine_s
from scheduler.slots.config import SlotConfig

CONFIG = SlotConfig(overdue_s=5.0, overdue_share=4)


def planned_order(seen, **changes):
    policy = SlotwisePolicy(SlotConfig(time_box_s=60.0, max_moves=64, **changes))
    return policy.plan(seen, None).order.tolist()


def oldest_first(seen, overdue_s):
    """Handles of all that wait or run for longer, oldest first."""
    handles = np.append(seen.running.handle, seen.waiting.handle)
    waited_s = NOW_S - np.append(seen.running.arrival_s, seen.waiting.arrival_s)
    oldest = np.argsort(-waited_s, kind="stable")
    return [int(handles[i]) for i in oldest if waited_s[i] > overdue_s]


@given(snapshots(slots=4), st.floats(0.0, 22.0))
@settings(max_examples=60, deadline=None)
def test_the_oldest_comes_first_and_the_others_stay_in_the_order_of_the_plan(seen, overdue_s):
    first = oldest_first(seen, overdue_s)[:1]
    plan = planned_order(seen, overdue_s=np.inf)
    aged = planned_order(seen, overdue_s=overdue_s)
    assert aged == first + [handle for handle in plan if handle not in first]


def test_however_hopeless_the_oldest_is_served_first_once_overdue():
    hopeless = request(Slo(e2e_s=0.1), tokens=2000)
    fresh = [request(tokens=50, arrival_s=NOW_S - 1.0) for _ in range(8)]
    seen = snapshot(hopeless, *fresh, now_s=NOW_S)
    assert planned_order(seen, overdue_s=20.0)[0] == 0
    assert 0 not in planned_order(seen, overdue_s=22.0)[:2]


def queue(tokens, *, first=0):
    """A problem of waiting requests, the oldest first; handles are numbers from ``first`` on."""
    each = [request(tokens=n, arrival_s=0.1 * k) for k, n in enumerate(tokens)]
    built = problem(*each, now_s=NOW_S)
    built.handle[:] = np.arange(first, first + len(tokens))
    return built


def test_who_was_put_first_stays_first_and_is_charged_once():
    ageing, waiting = Ageing(CONFIG), queue([100, 100, 100])
    cost_s = engine_s(waiting, np.arange(1)).item()
    assert ageing.first(waiting, now_s=0.0).tolist() == [0]
    assert ageing.first(waiting, now_s=3.9 * cost_s).tolist() == [0]
    assert ageing.first(waiting, now_s=4.1 * cost_s).tolist() == [0, 1]
    assert ageing.first(waiting, now_s=4.2 * cost_s).tolist() == [0, 1]


def test_a_charge_outlives_the_request():
    ageing = Ageing(CONFIG)
    cost_s = engine_s(queue([100]), np.arange(1)).item()
    ageing.first(queue([100, 100]), now_s=0.0)
    assert not len(ageing.first(queue([100], first=1), now_s=3.9 * cost_s))
    assert ageing.first(queue([100], first=1), now_s=4.1 * cost_s).tolist() == [0]


def test_time_without_anybody_overdue_is_no_credit():
    ageing = Ageing(CONFIG)
    assert not len(ageing.first(problem(request(arrival_s=NOW_S), now_s=NOW_S), now_s=1e6))
    assert ageing.first(queue([100, 100, 100]), now_s=1e6 + 1.0).tolist() == [0]


@given(
    st.lists(st.integers(1, 2000), min_size=4, max_size=30),
    st.lists(st.floats(0.0, 50.0), min_size=1, max_size=60),
)
@settings(max_examples=100, deadline=None)
def test_the_old_take_one_part_of_the_engines_time_and_one_request_more(tokens, gaps_s):
    """Each plan ends whoever was put first in the one before."""
    ageing, now_s, taken_s, largest_s, done = Ageing(CONFIG), 0.0, 0.0, 0.0, 0
    for gap_s in gaps_s:
        if done == len(tokens):
            break
        now_s += gap_s
        waiting = queue(tokens[done:], first=done)
        chosen = ageing.first(waiting, now_s=now_s)
        assert chosen.tolist() == list(range(len(chosen)))
        costs_s = engine_s(waiting, chosen)
        taken_s += costs_s.sum()
        largest_s = max(largest_s, costs_s.max(initial=0.0))
        done += len(chosen)
        elapsed_s = now_s - gaps_s[0]
        assert taken_s <= elapsed_s / CONFIG.overdue_share + largest_s + 1e-9
    assert done


@pytest.mark.parametrize(("kv_tokens", "dearer"), [(10**7, False), (10_000, True)])
def test_a_large_context_is_charged_for_the_memory_it_takes_where_that_binds(kv_tokens, dearer):
    each = [request(tokens=100, prompt=n) for n in (100, 5000)]
    built = problem(*each, now_s=NOW_S, slots=64, kv_tokens=kv_tokens)
    small_s, large_s = engine_s(built, np.arange(2))
    assert (large_s > 2.0 * small_s) == dearer
