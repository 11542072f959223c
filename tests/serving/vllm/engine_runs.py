"""Policies and runs for tests of what vLLM made of each call."""

import numpy as np
from vllm_steps import LATENCY, SLOTS, request, run_step

from scheduler.decision import Plan, StepDecision


class Greedy:
    """Gives every slot to those who wait, the youngest first, and preempts whoever has one."""

    name = "greedy"

    def plan(self, snapshot, previous):
        return Plan(snapshot.version, snapshot.now_s, snapshot.waiting.handle)

    def step(self, snapshot, plan):
        waiting, running = snapshot.waiting.handle[::-1], snapshot.running.handle
        free = snapshot.limits.max_num_seqs - len(running)
        preempt = running[: max(min(len(waiting) - free, len(running)), 0)]
        return StepDecision(order=np.concatenate([waiting, preempt]), preempt=preempt, stands=False)


def fill(scheduler, in_flight, *, steps=5, **kwargs):
    """Have every slot taken by requests that go on for long."""
    for number in range(SLOTS):
        scheduler.add_request(request(f"long{number}", tokens=400, **kwargs))
    for _ in range(steps):
        run_step(scheduler, in_flight, lag=1)
    assert len(scheduler.running) == SLOTS


def preemptions(scheduler):
    return sum(each.num_preemptions for each in scheduler.requests.values())


def seen(scheduler):
    """Ids of the waiting and of the running that policies see."""
    tracker = scheduler.driver.tracker
    snapshot = tracker.snapshot(now_s=0.0, latency=LATENCY)
    return (
        tracker.request_ids(snapshot.waiting.handle),
        sorted(tracker.request_ids(snapshot.running.handle)),
    )


def drain(scheduler, in_flight, *, lag=1, most=4000):
    done = []
    for _ in range(most):
        if not scheduler.requests:
            return done
        done += run_step(scheduler, in_flight, lag=lag)
    raise AssertionError(f"still there: {sorted(scheduler.requests)}")


class Resting(Greedy):
    """Lets all who run sit out in every second step."""

    steps = 0

    def step(self, snapshot, plan):
        self.steps += 1
        held = snapshot.running.handle[: SLOTS * (self.steps % 2)]
        return StepDecision(order=snapshot.waiting.handle, held=held, stands=False)
