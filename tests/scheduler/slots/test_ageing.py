"""Nothing waits for ever, and the old take no more than their share of the engine."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slot_problems import NOW_S, problem, read, request, snapshot, snapshots

from scheduler.policies.slotwise import SlotwisePolicy
from scheduler.slo import Slo
from scheduler.slots.ageing import Ageing, engine_s
from scheduler.slots.config import SlotConfig
from scheduler.slots.problem import Fact

CONFIG = SlotConfig(overdue_s=18.0, overdue_share=4)


def planned(seen, **changes):
    policy = SlotwisePolicy(SlotConfig(time_box_s=60.0, max_moves=64, **changes))
    return policy.plan(seen, None)


def oldest_first(seen, overdue_s):
    """Handles of all that are older and have to begin, oldest first."""
    built = read(seen)
    begins = built.facts[:, Fact.START_S] > 0.0
    begins[built.running :] = True
    oldest = np.argsort(-built.waited_s, kind="stable")
    return [int(built.handle[i]) for i in oldest if built.waited_s[i] > overdue_s and begins[i]]


@given(snapshots(slots=4), st.floats(0.0, 22.0))
@settings(max_examples=60, deadline=None)
def test_the_oldest_comes_first_and_the_others_stay_in_the_order_of_the_plan(seen, overdue_s):
    without, aged = planned(seen, overdue_s=np.inf), planned(seen, overdue_s=overdue_s)
    # A stream that is silent for long comes first anyway, and has its turn as such.
    first = [handle for handle in oldest_first(seen, overdue_s)[:1] if handle not in without.silent]
    assert aged.overdue == len(first)
    assert aged.order.tolist() == first + [n for n in without.order.tolist() if n not in first]


def test_however_hopeless_the_oldest_is_served_first_once_overdue():
    hopeless = request(Slo(e2e_s=0.1), tokens=2000)
    fresh = [request(tokens=50, arrival_s=NOW_S - 1.0) for _ in range(8)]
    seen = snapshot(hopeless, *fresh, now_s=NOW_S)
    assert planned(seen, overdue_s=20.0).order[0] == 0
    assert 0 not in planned(seen, overdue_s=22.0).order[:2]


def queue(*described, first=0):
    """A problem of overdue requests, the oldest first; handles are numbers from ``first`` on.

    An int is the output of a request that waits; ``-n`` that of a stream, which runs.
    """
    each = [
        request(
            tokens=abs(tokens) + 50,
            arrival_s=0.1 * k,
            running=tokens < 0,
            generated=50 if tokens < 0 else 0,
            first_s=10.0,
        )
        for k, tokens in enumerate(described)
    ]
    order = np.argsort([tokens > 0 for tokens in described], kind="stable")
    built = problem(*[each[k] for k in order], now_s=NOW_S)
    built.handle[:] = order + first
    return built


def chosen(ageing, built, now_s):
    return built.handle[ageing.first(built, now_s=now_s)].tolist()


def cost_s(built, handle):
    return engine_s(built, np.flatnonzero(built.handle == handle)).item()


def test_the_next_is_put_first_when_the_charge_is_worked_off():
    ageing, waiting, begun = Ageing(CONFIG), queue(100, 100, 100), queue(-100, 100, 100)
    owed_s = 4.0 * cost_s(waiting, 0)
    assert chosen(ageing, waiting, 0.0) == [0]
    assert chosen(ageing, begun, 0.99 * owed_s) == [0]
    assert chosen(ageing, begun, 1.01 * owed_s) == [0, 1]


def test_nobody_is_put_first_before_the_one_before_has_its_first_token():
    ageing, waiting = Ageing(CONFIG), queue(100, 100, 100)
    assert [chosen(ageing, waiting, now_s) for now_s in (0.0, 1e3, 1e6)] == [[0]] * 3


def test_a_stream_that_flows_has_no_need_to_be_put_first():
    assert chosen(Ageing(CONFIG), queue(-100, -100, 100), 0.0) == [2]
    assert chosen(Ageing(CONFIG), queue(-100, -100), 0.0) == []


def test_a_charge_outlives_the_request():
    ageing = Ageing(CONFIG)
    owed_s = 4.0 * cost_s(queue(100), 0)
    chosen(ageing, queue(100, 100), 0.0)
    assert chosen(ageing, queue(100, first=1), 0.99 * owed_s) == []
    assert chosen(ageing, queue(100, first=1), 1.01 * owed_s) == [1]


def test_no_charge_locks_the_others_out_for_longer_than_the_bound():
    ageing = Ageing(CONFIG)
    assert cost_s(queue(2000), 0) * CONFIG.overdue_share > 2.0 * CONFIG.overdue_s
    chosen(ageing, queue(2000, 100), 0.0)
    assert chosen(ageing, queue(100, first=1), CONFIG.overdue_s - 0.1) == []
    assert chosen(ageing, queue(100, first=1), CONFIG.overdue_s + 0.1) == [1]


def test_neither_idle_time_nor_a_clock_put_back_is_credit_or_debt():
    ageing = Ageing(CONFIG)
    fresh = problem(request(arrival_s=NOW_S), now_s=NOW_S)
    assert chosen(ageing, fresh, 1e6) == []
    assert chosen(ageing, queue(100, 100), 1e6 + 1.0) == [0]
    assert chosen(ageing, queue(-100, 100), 1e5) == [0]
    owed_s = 4.0 * cost_s(queue(100), 0)
    assert chosen(ageing, queue(-100, 100), 1e5 + 1.01 * owed_s) == [0, 1]


@given(
    st.lists(st.integers(1, 100), min_size=4, max_size=30),
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
        waiting = queue(*tokens[done:], first=done)
        first = chosen(ageing, waiting, now_s)
        assert first in ([], [done])
        spent_s = sum(cost_s(waiting, handle) for handle in first)
        assert spent_s <= CONFIG.overdue_s / CONFIG.overdue_share
        taken_s, largest_s = taken_s + spent_s, max(largest_s, spent_s)
        done += len(first)
        assert taken_s <= (now_s - gaps_s[0]) / CONFIG.overdue_share + largest_s + 1e-9
    assert done


@pytest.mark.parametrize(("kv_tokens", "dearer"), [(10**7, False), (10_000, True)])
def test_a_large_context_is_charged_for_the_memory_it_takes_where_that_binds(kv_tokens, dearer):
    each = [request(tokens=100, prompt=n) for n in (100, 5000)]
    built = problem(*each, now_s=NOW_S, slots=64, kv_tokens=kv_tokens)
    small_s, large_s = engine_s(built, np.arange(2))
    assert (large_s > 2.0 * small_s) == dearer
