import random
from collections import deque
from types import SimpleNamespace

import pytest
from vllm_steps import new_request, run_step


@pytest.fixture
def clock(monkeypatch):
    found = SimpleNamespace(now_s=100.0)
    told = SimpleNamespace(
        monotonic=lambda: found.now_s, perf_counter=lambda: 0.0, time=lambda: 0.0
    )
    monkeypatch.setattr("serving.vllm_timed.time", told)
    return found


@pytest.fixture
def scheduler(make_scheduler, clock, monkeypatch):
    made = make_scheduler(mode="off")
    made.times_s = []
    monkeypatch.setattr(made, "step_done", lambda work, step_s: made.times_s.append(step_s))
    return made


def ask(scheduler, name):
    request = new_request(name, random.Random(0))
    request.max_tokens = 3
    scheduler.add_request(request)


def test_what_the_engine_does_between_two_steps_is_time_that_requests_wait(scheduler, clock):
    ask(scheduler, "a")
    in_flight = deque()
    while scheduler.has_unfinished_requests():
        run_step(scheduler, in_flight, lag=0)
        clock.now_s += 0.25
    first_s, *others = scheduler.times_s
    assert first_s == 0.0
    assert others == [0.25] * len(others) != []


def abort(scheduler):
    from vllm.v1.request import RequestStatus

    run_step(scheduler, deque(), lag=0)
    scheduler.finish_requests("a", RequestStatus.FINISHED_ABORTED)
    run_step(scheduler, deque(), lag=0)


def finish(scheduler):
    while scheduler.has_unfinished_requests():
        run_step(scheduler, deque(), lag=0)


@pytest.mark.parametrize("end", [abort, finish])
def test_an_idle_engine_makes_no_long_step(scheduler, clock, end):
    ask(scheduler, "a")
    end(scheduler)
    clock.now_s += 60.0
    ask(scheduler, "b")
    run_step(scheduler, deque(), lag=0)
    assert len(scheduler.times_s) > 1
    assert max(scheduler.times_s) == 0.0


def test_steps_that_overlap_are_not_counted_twice(scheduler, clock):
    ask(scheduler, "a")
    in_flight = deque()
    started_s = clock.now_s
    while scheduler.has_unfinished_requests() or in_flight:
        run_step(scheduler, in_flight, lag=1 if scheduler.has_unfinished_requests() else 0)
        clock.now_s += 0.5
    assert sum(scheduler.times_s) <= clock.now_s - started_s
