"""What of a long queue a policy is shown."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.distribution import LengthDistribution
from scheduler import shortlist
from scheduler.latency import StepLatency
from scheduler.shortlist import Shortlist
from scheduler.slo import Slo
from scheduler.snapshot import Limits
from scheduler.tracker import Arrival, Tracker

LATENCY = StepLatency.linear(step_s=0.01, decode_s=1e-4, prompt_token_s=1e-4)
LIMITS = Limits(max_num_seqs=4, max_batched_tokens=1000, kv_tokens=10**6)
MOST = 45
OLDEST = MOST // shortlist.SHARES


def queue_of(count, *, seed=0):
    """So many waiting, one a second, of all kinds."""
    rng, tracker = np.random.default_rng(seed), Tracker(limits=LIMITS, capacity=64)
    for number in range(count):
        slo = [
            Slo(ttft_s=rng.uniform(1.0, 400.0)),
            Slo(e2e_s=rng.uniform(1.0, 400.0)),
            Slo(),
        ][number % 3]
        tracker.arrived(
            Arrival(
                str(number),
                float(number),
                int(rng.integers(1, 3000)),
                4096,
                slo,
                LengthDistribution.point(int(rng.integers(1, 900))),
                priority=int(rng.integers(0, 50)),
            )
        )
    return tracker


def look(shown, tracker, *, now_s=300.0, advance=True, most=MOST):
    return shown.look(tracker, now_s=now_s, latency=LATENCY, most=most, advance=advance)


def table_of(tracker, now_s=300.0):
    return tracker.snapshot(now_s=now_s, latency=LATENCY).waiting


def test_a_short_queue_is_shown_whole():
    tracker = queue_of(MOST)
    assert look(Shortlist(), tracker) is None
    tracker.arrived(Arrival("late", 99.0, 1, 10, Slo(), LengthDistribution.point(1)))
    assert len(look(Shortlist(), tracker)) == MOST


def test_the_fronts_of_all_orders_are_shown_in_arrival_order():
    tracker = queue_of(300)
    found = look(Shortlist(), tracker)
    table = table_of(tracker)
    due_s = table.arrival_s + np.minimum(table.ttft_s, table.e2e_s)
    tokens = tracker.atoms[table.handle].mean(axis=1)
    shown = set(found.tolist())
    for key in (table.arrival_s, due_s, tokens, table.priority):
        front = table.handle[np.argsort(key, kind="stable")][:OLDEST]
        assert shown >= set(front.tolist())
    service_s = LATENCY.prefill_s(1, table.prefill_left)
    service_s += (tokens - 1.0) * LATENCY.decode_s(4, 1500.0)
    slack_s = due_s - 300.0 - service_s
    can = (slack_s > 5.0) & np.isfinite(due_s)
    assert shown & set(table.handle[can].tolist())
    assert found.tolist() == [h for h in table.handle.tolist() if h in shown]


@pytest.mark.parametrize("count", [300, 1000])
def test_a_pass_over_a_long_queue_takes_several_looks_and_misses_nobody(count, monkeypatch):
    monkeypatch.setattr(shortlist, "PIECE", 64)
    tracker, shown = queue_of(count), Shortlist()
    table = table_of(tracker)
    tokens = tracker.atoms[table.handle].mean(axis=1)
    shortest = table.handle[np.argsort(tokens, kind="stable")][:OLDEST]
    for _ in range(-(-count // 64) - 1):
        found = look(shown, tracker)
    assert len(found) == MOST
    # Some of the queue leave in the middle of a pass.
    for number in range(count // 2, count // 2 + 50):
        tracker.finished(str(number))
    found = look(shown, tracker)
    there = set(table_of(tracker).handle.tolist())
    assert set(found.tolist()) <= there
    assert set(found.tolist()) >= set(shortest.tolist()) & there


@given(st.lists(st.sampled_from("acpf"), max_size=60), st.integers(0, 5))
@settings(max_examples=40)
def test_the_oldest_the_newest_and_begun_streams_are_always_shown(moves, seed):
    tracker, shown = queue_of(150, seed=seed), Shortlist()
    running, number = [], 150
    for move in moves:
        waiting = tracker.waiting_handles()
        if move == "a":
            at_s = 300.0 + number
            slo, lengths = Slo(ttft_s=5.0), LengthDistribution.point(9)
            tracker.arrived(Arrival(str(number), at_s, 10, 99, slo, lengths))
            number += 1
        elif move == "c" and len(running) < 4:
            name = tracker.request_id(int(waiting[len(waiting) // 2]))
            tracker.scheduled({name: 10_000})
            tracker.tokens({name: 1}, 300.0 + number)
            running.append(name)
        elif move == "p" and running:
            tracker.preempted(running.pop())
        elif move == "f":
            tracker.finished(tracker.request_id(int(waiting[0])))
        found = look(shown, tracker)
        waiting = tracker.waiting_handles()
        assert len(found) == MOST
        assert set(found.tolist()) <= set(waiting.tolist())
        assert set(found.tolist()) >= set(waiting[:OLDEST].tolist()) | set(waiting[-1:].tolist())
        begun = waiting[tracker.columns[4, waiting] > 0.0]
        assert set(found.tolist()) >= set(begun[:OLDEST].tolist())


def test_between_two_plans_the_choice_stays():
    tracker, shown = queue_of(200), Shortlist()
    before = look(shown, tracker)
    gone = tracker.request_id(int(before[7]))
    tracker.scheduled({gone: 10})
    after = look(shown, tracker, advance=False)
    assert set(before.tolist()) - set(after.tolist()) == {int(before[7])}
