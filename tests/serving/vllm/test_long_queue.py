"""20,000 requests wait in vLLM's scheduler, the forward pass made up."""

import random
from collections import deque

import pytest
from test_scheduler_blast import Chaos, check
from vllm_steps import SLOTS, new_request, run_step

from scheduler.backoff import MOST_SHOWN

pytest.importorskip("vllm", reason="vLLM is not installed (extra: cpu or gpu)")
pytestmark = pytest.mark.engine

WAITING = 20_000
STEPS = 120


class Seen:
    """A policy, and how many of the waiting it was shown at most."""

    def __init__(self, policy):
        self.policy, self.name, self.most = policy, policy.name, 0

    def plan(self, snapshot, previous):
        return self.policy.plan(snapshot, previous)

    def step(self, snapshot, plan):
        self.most = max(self.most, len(snapshot.waiting))
        return self.policy.step(snapshot, plan)


@pytest.mark.parametrize("policy_name", ["slotwise", "sjf", "chaos"])
def test_a_long_queue_is_served_and_a_policy_sees_little_of_it(make_scheduler, policy_name):
    rng, in_flight, ended = random.Random(policy_name), deque(), []
    # A scheduler compiles its policy at start; chaos has nothing to compile.
    scheduler = make_scheduler("fcfs" if policy_name == "chaos" else policy_name, blocks=400)
    policy = Chaos(1) if policy_name == "chaos" else scheduler.driver.policy
    scheduler.driver.policy = Seen(policy)
    live = set()
    for number in range(WAITING):
        scheduler.add_request(new_request(f"r{number}", rng))
        live.add(f"r{number}")
    for step in range(STEPS):
        if step % 3 == 0:
            scheduler.add_request(new_request(f"late{step}", rng))
            live.add(f"late{step}")
        if step % 10 == 0:
            from vllm.v1.request import RequestStatus

            gone = f"r{rng.randrange(WAITING)}"
            if gone in live:
                scheduler.finish_requests(gone, RequestStatus.FINISHED_ABORTED)
                live.remove(gone)
        finished = run_step(scheduler, in_flight, lag=1)
        ended += finished
        live -= set(finished)
    check(scheduler, live)
    assert len(scheduler.running) > 0
    assert len(ended) > SLOTS
    assert len(ended) == len(set(ended))
    assert 0 < scheduler.driver.policy.most <= MOST_SHOWN
    assert scheduler.fallbacks == 0
