"""A picture of the engine that is wrong, and odd policies: both are mended and kill nobody."""

from collections import deque

import numpy as np
import pytest
from engine_runs import Greedy, Resting, drain, fill, seen
from vllm_steps import request, run_step, waiting_of

from scheduler.decision import StepDecision

pytest.importorskip("vllm", reason="vLLM is not installed (extra: cpu or gpu)")
pytestmark = pytest.mark.engine


def loses_one(scheduler):
    scheduler.driver.tracker.finished("long1")


def knows_one_too_many(scheduler):
    tracker = scheduler.driver.tracker
    scheduler._register(request("ghost"), None)
    tracker.scheduled({"ghost": 1})


def forgets_all(scheduler):
    for name in list(scheduler.driver.tracker.live):
        scheduler.driver.tracker.finished(name)


def takes_one_for_waiting(scheduler):
    scheduler.driver.tracker.preempted("long2")


def swaps_two(scheduler):
    """The counts agree, the requests do not."""
    loses_one(scheduler)
    knows_one_too_many(scheduler)


@pytest.mark.parametrize("mode", ["active", "shadow"])
@pytest.mark.parametrize(
    "mistake", [loses_one, knows_one_too_many, forgets_all, takes_one_for_waiting, swaps_two]
)
def test_a_picture_that_is_wrong_is_mended_counted_and_kills_nobody(make_scheduler, mistake, mode):
    scheduler, in_flight = make_scheduler("fcfs", policy=Greedy(), mode=mode), deque()
    fill(scheduler, in_flight)
    scheduler.add_request(request("late", tokens=5))
    mistake(scheduler)
    for _ in range(3):
        run_step(scheduler, in_flight, lag=1)
    waiting, running = seen(scheduler)
    assert sorted(waiting) == sorted(each.request_id for each in waiting_of(scheduler))
    assert running == sorted(each.request_id for each in scheduler.running)
    assert scheduler.driver.tracker.disagreements > 0


def test_a_policy_that_names_whom_it_likes_is_followed_as_far_as_that_goes(make_scheduler):
    class Wild(Greedy):
        def step(self, snapshot, plan):
            nobody = np.array([-1, 10**9, 3, 400], dtype=np.int64)
            every = np.concatenate([snapshot.waiting.handle, nobody, snapshot.running.handle])
            return StepDecision(
                order=every, preempt=every, held=nobody, running=every, stands=False
            )

    scheduler, in_flight = make_scheduler("fcfs", policy=Wild()), deque()
    for number in range(6):
        scheduler.add_request(request(f"r{number}", tokens=3))
    for _ in range(10):
        run_step(scheduler, in_flight, lag=1)
    scheduler.driver.policy = Resting()
    assert len(drain(scheduler, in_flight)) <= 6


class HoldsAll(Greedy):
    """Holds back whoever waits."""

    def step(self, snapshot, plan):
        waiting = snapshot.waiting.handle
        return StepDecision(order=waiting, held=waiting, stands=False)


def test_a_policy_that_holds_everybody_back_stops_no_engine(make_scheduler):
    scheduler, in_flight = make_scheduler("fcfs", policy=HoldsAll()), deque()
    scheduler.add_request(request("held", tokens=3))
    done = []
    for _ in range(10):
        done += run_step(scheduler, in_flight, lag=1)
    assert done == ["held"]
