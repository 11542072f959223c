"""Requests that cannot be admitted take part in nothing; whatever vLLM does, the picture is its."""

from collections import deque

import numpy as np
import pytest
from engine_runs import Greedy, Resting, drain, fill, preemptions, seen
from vllm_steps import LATENCY, SLOTS, compiled, request, run_step, with_grammar

from scheduler.blocked import Blocked
from scheduler.decision import StepDecision
from scheduler.placement.digest import Item
from scheduler.slo import Slo
from scheduler.snapshot import Column

pytest.importorskip("vllm", reason="vLLM is not installed (extra: cpu or gpu)")
pytestmark = pytest.mark.engine

URGENT = Slo(ttft_s=2.0)


def test_a_grammar_that_is_compiled_costs_nobody_a_slot_and_then_comes(make_scheduler):
    scheduler, in_flight = make_scheduler("fcfs", policy=Greedy()), deque()
    fill(scheduler, in_flight)
    waits = with_grammar("json", slo=URGENT)
    scheduler.add_request(waits)
    born_s = seen_arrival(scheduler, "json")
    scheduler.add_request(with_grammar("never"))
    for _ in range(20):
        run_step(scheduler, in_flight, lag=1)
        assert len(scheduler.running) == SLOTS
    assert preemptions(scheduler) == 0
    assert seen(scheduler)[0] == []
    assert scheduler.driver.tracker.blocked_by_reason()[Blocked.GRAMMAR] == 2
    waits.structured_output_request.grammar = compiled()
    run_step(scheduler, in_flight, lag=1)
    assert "json" in seen(scheduler)[1]
    assert seen_arrival(scheduler, "json") == born_s
    assert preemptions(scheduler) == 1


def seen_arrival(scheduler, name):
    tracker = scheduler.driver.tracker
    return tracker.columns[Column.ARRIVAL_S, tracker.handle(name)]


def test_a_grammar_that_cannot_be_compiled_ends_its_request_alone(make_scheduler):
    scheduler, in_flight = make_scheduler("fcfs", policy=Greedy()), deque()
    fill(scheduler, in_flight)
    broken = with_grammar("broken")
    scheduler.add_request(broken)
    broken.structured_output_request.grammar = ValueError("no such grammar")
    for _ in range(5):
        run_step(scheduler, in_flight, lag=1)
    assert preemptions(scheduler) == 0
    scheduler.finish_requests("long0", _aborted())
    done = [run_step(scheduler, in_flight, lag=1) for _ in range(3)]
    assert ["broken"] in done
    assert "broken" not in scheduler.driver.tracker


def _aborted():
    from vllm.v1.request import RequestStatus

    return RequestStatus.FINISHED_ABORTED


def test_an_adapter_beyond_max_loras_costs_nobody_a_slot(make_scheduler):
    scheduler = make_scheduler("fcfs", policy=Greedy(), enable_lora=True, max_loras=1)
    in_flight = deque()
    fill(scheduler, in_flight, adapter=1)
    scheduler.add_request(request("other", adapter=2, tokens=5, slo=URGENT))
    for _ in range(20):
        run_step(scheduler, in_flight, lag=1)
        assert len(scheduler.running) == SLOTS
    assert preemptions(scheduler) == 0
    assert seen(scheduler)[0] == []
    assert scheduler.driver.tracker.blocked_by_reason()[Blocked.ADAPTER] == 1
    scheduler.finish_requests([f"long{number}" for number in range(SLOTS)], _aborted())
    assert drain(scheduler, in_flight) == ["other"]


def test_adapters_of_those_who_sit_out_are_counted(make_scheduler):
    scheduler = make_scheduler("fcfs", policy=Resting(), enable_lora=True, max_loras=1)
    in_flight = deque()
    for number in range(8):
        scheduler.add_request(request(f"r{number}", adapter=1 + number % 3, tokens=6))
    assert sorted(drain(scheduler, in_flight)) == [f"r{number}" for number in range(8)]


@pytest.mark.parametrize("most", [1, 2, SLOTS])
def test_no_slot_is_given_up_beyond_the_active_limit(make_scheduler, most):
    scheduler, in_flight = make_scheduler("fcfs", policy=Greedy()), deque()
    if not hasattr(scheduler, "max_num_active_reqs"):
        pytest.skip("this release has no active limit")
    fill(scheduler, in_flight)
    scheduler.max_num_active_reqs = most
    for number in range(3):
        scheduler.add_request(request(f"late{number}", tokens=5))
    for _ in range(10):
        run_step(scheduler, in_flight, lag=1)
    if most < SLOTS:  # whoever gave up a slot would be followed by nobody
        assert preemptions(scheduler) == 0
        assert len(scheduler.running) == SLOTS
        assert scheduler.driver.tracker.closed is Blocked.CAPACITY
        scheduler.finish_requests([f"long{number}" for number in range(SLOTS)], _aborted())
    else:
        assert preemptions(scheduler) > 0
        scheduler.driver.policy = Resting()
    for _ in range(300):
        run_step(scheduler, in_flight, lag=1)
        assert len(scheduler.running) <= max(most, 1) or most == SLOTS
    assert not any(name.startswith("late") for name in scheduler.requests)


@pytest.mark.parametrize("mode", ["active", "shadow"])
@pytest.mark.parametrize("lag", [0, 1])
def test_sessions_pause_go_on_and_end(make_scheduler, lag, mode):
    scheduler, in_flight = make_scheduler(mode=mode), deque()
    tracker = scheduler.driver.tracker
    scheduler.add_request(request("session", tokens=3, resumable=True))
    for _ in range(8):
        run_step(scheduler, in_flight, lag=lag)
    assert tracker.reason("session") is Blocked.INPUT
    assert tracker.limits.max_num_seqs == SLOTS - 1
    assert tracker.limits.kv_tokens < 200 * 16
    assert seen(scheduler) == ([], [])
    scheduler.add_request(request("session", prompt=200, tokens=4, resumable=True))
    waiting = tracker.snapshot(now_s=0.0, latency=LATENCY).waiting
    assert waiting.generated.tolist() == [0]
    assert waiting.prompt_tokens[0] - waiting.prefill_left[0] == 22
    run_step(scheduler, in_flight, lag=lag)
    running = tracker.snapshot(now_s=0.0, latency=LATENCY).running
    assert running.prefill_left.tolist() == [200 - 128]
    for _ in range(10):
        run_step(scheduler, in_flight, lag=lag)
    scheduler.add_request(request("session", tokens=3))
    assert len(tracker) == 0
    scheduler.add_request(request("other", tokens=5))
    assert drain(scheduler, in_flight, lag=lag) == ["other"]
    assert tracker.disagreements == 0


@pytest.mark.parametrize("lag", [0, 1])
def test_a_session_whose_input_is_there_already_goes_on_at_once(make_scheduler, lag):
    scheduler, in_flight = make_scheduler(), deque()
    scheduler.add_request(request("session", tokens=3, resumable=True))
    run_step(scheduler, in_flight, lag=lag)
    scheduler.add_request(request("session", tokens=5, resumable=True))
    scheduler.add_request(request("session", tokens=5))
    turns = drain(scheduler, in_flight, lag=lag)
    assert turns == ["session", "session"]
    assert len(scheduler.driver.tracker) == 0
    assert scheduler.driver.tracker.disagreements == 0


class Meddling(Greedy):
    """Preempts, holds and squeezes all it sees."""

    def step(self, snapshot, plan):
        running = snapshot.running.handle
        return StepDecision(
            order=np.concatenate([snapshot.waiting.handle, running[:2]]),
            preempt=running[:2],
            held=running[2:],
            running=running[::-1],
            token_budget=1,
            stands=False,
        )


@pytest.mark.parametrize("sessions", [0, 1])
def test_while_the_engine_drains_nobody_is_preempted_held_or_squeezed(make_scheduler, sessions):
    from vllm.v1.core.sched.interface import PauseState

    scheduler, in_flight = make_scheduler("fcfs", policy=Greedy()), deque()
    for number in range(sessions):
        scheduler.add_request(request(f"session{number}", tokens=2, resumable=True))
    for number in range(12):
        scheduler.add_request(request(f"r{number}", prompt=200, tokens=20))
    for _ in range(4 + 4 * sessions):
        run_step(scheduler, in_flight, lag=1)
    scheduler.driver.policy = Meddling()
    scheduler.set_pause_state(PauseState.PAUSED_NEW)
    running = [each.request_id for each in scheduler.running]
    all_, done, steps = list(scheduler.requests.values()), [], 0
    before = sum(each.num_preemptions for each in all_)
    while scheduler.has_unfinished_requests():
        steps += 1
        assert steps < 60, "a drain that squeezes or holds lasts longer"
        done += run_step(scheduler, in_flight, lag=1)
        assert sum(each.num_preemptions for each in all_) == before
        assert [each.request_id for each in scheduler.running] == [
            name for name in running if name not in done
        ]
    assert set(running) <= set(done)
    assert seen(scheduler)[0] == []
    scheduler.driver.policy = Resting()
    scheduler.set_pause_state(PauseState.UNPAUSED)
    scheduler.finish_requests([f"session{number}" for number in range(sessions)], _aborted())
    assert len(set(done) | set(drain(scheduler, in_flight))) >= 12 - 2 * sessions


def test_a_pause_that_keeps_everybody_computes_nothing_and_shadow_notes_nothing(
    make_scheduler, monkeypatch, tmp_path
):
    from vllm.v1.core.sched.interface import PauseState

    from serving import shadowlog

    monkeypatch.setenv("SLOTWISE_SHADOW_LOG", str(tmp_path / "shadow.jsonl"))
    scheduler, in_flight = make_scheduler(mode="shadow"), deque()
    fill(scheduler, in_flight)
    scheduler.set_pause_state(PauseState.PAUSED_ALL)
    scheduler.add_request(request("late", slo=URGENT))
    for _ in range(3):
        assert not scheduler.schedule().num_scheduled_tokens
    assert scheduler.driver.tracker.blocked_by_reason()[Blocked.PAUSED] == 1
    scheduler.reset_prefix_cache(reset_running_requests=True)
    assert scheduler.driver.tracker.running == 0
    scheduler.shutdown()
    noted = shadowlog.read(tmp_path / "shadow.jsonl")
    assert not any("late" in decision.order for decision in noted)


def kv_config():
    from vllm.config import KVTransferConfig

    return KVTransferConfig(
        kv_connector="ArrivingKv", kv_role="kv_both", kv_connector_module_path="arriving_kv"
    )


def test_kv_on_its_way_costs_nobody_a_slot_and_is_fetched_at_the_first_chance(make_scheduler):
    scheduler = make_scheduler("fcfs", policy=Greedy(), kv_transfer_config=kv_config())
    in_flight = deque()
    fill(scheduler, in_flight)
    scheduler.add_request(request("far", prompt=100, kv={"do_remote_prefill": True}))
    for _ in range(10):
        run_step(scheduler, in_flight, lag=1)
        assert len(scheduler.running) == SLOTS
    assert preemptions(scheduler) == 0
    assert scheduler.driver.tracker.blocked_by_reason()[Blocked.KV] == 1
    scheduler.add_request(request("near", tokens=50))
    scheduler.finish_requests("long0", _aborted())
    run_step(scheduler, in_flight, lag=1)
    # The slot went to somebody else, and the cache is being fetched all the same.
    assert "near" in seen(scheduler)[1]
    assert scheduler.requests["far"].num_computed_tokens == 99
    for _ in range(10):
        run_step(scheduler, in_flight, lag=1)
    assert preemptions(scheduler) == 0
    run_step(scheduler, in_flight, lag=1, loaded=["far"])
    run_step(scheduler, in_flight, lag=1)
    assert "far" in seen(scheduler)[1]
    tracker = scheduler.driver.tracker
    assert tracker.columns[Column.PREFILL_LEFT, tracker.handle("far")] == 0
    assert tracker.disagreements == 0


def test_whom_vllm_passes_over_for_a_reason_of_its_own_costs_one_slot_at_most(make_scheduler):
    scheduler = make_scheduler("fcfs", policy=Greedy(), kv_transfer_config=kv_config())
    in_flight = deque()
    fill(scheduler, in_flight)
    scheduler.add_request(request("unknown", kv={"lookup": True}))
    for _ in range(20):
        run_step(scheduler, in_flight, lag=1)
    assert preemptions(scheduler) <= 1
    assert scheduler.driver.tracker.blocked_by_reason()[Blocked.SKIPPED] == 1
    scheduler.connector.known.add("unknown")
    scheduler.finish_requests("long0", _aborted())
    run_step(scheduler, in_flight, lag=1)
    assert "unknown" in seen(scheduler)[1]


def test_a_session_is_not_preempted_in_the_middle_of_a_turn(make_scheduler):
    scheduler, in_flight = make_scheduler("fcfs", policy=Greedy()), deque()
    session = request("session", tokens=30, resumable=True)
    scheduler.add_request(session)
    for number in range(12):
        run_step(scheduler, in_flight, lag=1)
        scheduler.add_request(request(f"r{number}", tokens=8))
    for _ in range(40):
        run_step(scheduler, in_flight, lag=1)
    assert session.num_preemptions == 0
    assert scheduler.driver.tracker.reason("session") is Blocked.INPUT


def test_a_pause_and_its_end_are_told_to_routers_at_once(make_scheduler, monkeypatch, tmp_path):
    from vllm.v1.core.sched.interface import PauseState

    from serving.digest_file import read_report

    monkeypatch.setenv("SLOTWISE_DIGEST_FILE", str(tmp_path / "digest"))
    monkeypatch.setenv("SLOTWISE_DIGEST_PERIOD_MS", "3600000")
    scheduler, in_flight = make_scheduler(), deque()
    path = scheduler.engine_rank.file(tmp_path / "digest")
    fill(scheduler, in_flight)
    scheduler.add_request(request("waits"))
    # No step comes in between: a paused engine may make none.
    scheduler.set_pause_state(PauseState.PAUSED_ALL)
    paused = read_report(path)
    assert paused.digest.paused
    assert paused.digest.values[Item.LIVE] == SLOTS + 1
    scheduler.finish_requests(None, _aborted())
    scheduler.set_pause_state(PauseState.UNPAUSED)
    resumed = read_report(path)
    assert not resumed.digest.paused
    assert resumed.digest.values[Item.LIVE] == 0
    assert resumed.serial == paused.serial + 1


@pytest.mark.parametrize("delivers", [False, True])
def test_a_preempted_request_whose_kv_another_engine_wants_does_not_end_without_it(
    make_scheduler, delivers
):
    scheduler, in_flight = make_scheduler("fcfs", policy=Greedy()), deque()
    fill(scheduler, in_flight, steps=2)
    scheduler.requires_kv_delivery = delivers
    scheduler.add_request(request("late"))
    victims = list(scheduler.running)
    scheduler.before_step()
    gone = [each for each in victims if each not in scheduler.running]
    assert len(gone) == 1
    assert gone[0].num_stale_output_tokens > 0
    assert gone[0].drop_stale_output == delivers
