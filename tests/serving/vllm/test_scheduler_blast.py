"""Thousands of random steps on vLLM's own scheduler with our class, the model runner mocked.

The configuration is a real one (vLLM reads the embedded model's folder); only the forward pass
is made up: every request that computed all its tokens gets one more.
"""

import random
from collections import deque

import numpy as np
import pytest
from vllm_steps import LATENCY, SLOTS, new_request, run_step

from scheduler.decision import Plan, StepDecision

pytest.importorskip("vllm", reason="vLLM is not installed (extra: cpu or gpu)")
pytestmark = pytest.mark.engine

BLASTED = (
    "slotwise",
    "sjf",
    "anneal-paper",
    "shortest-feasible-first",
    "unpredicted-boost",
    "sarathi-edf",
    "qoserve",
    "qoserve+predicted",
    "slidingserve",
    "slidingserve[chunker+sorter]",
    "past-future",
    "chaos",
)


class Chaos:
    """Orders at random, preempts, holds back and squeezes the budget at random."""

    name = "chaos"

    def __init__(self, seed):
        self.rng = random.Random(seed)

    def plan(self, snapshot, previous):
        return Plan(snapshot.version, snapshot.now_s, snapshot.waiting.handle)

    def step(self, snapshot, plan):
        waiting = snapshot.waiting.handle.tolist()
        self.rng.shuffle(waiting)
        running = snapshot.running.handle.tolist()
        preempt = [h for h in running if self.rng.random() < 0.03]
        held = [h for h in waiting + running if self.rng.random() < 0.2]
        self.rng.shuffle(running)
        budget = self.rng.choice([None, None, 1, 7, 64])
        return StepDecision(
            order=np.array(waiting + preempt, dtype=np.int64),
            preempt=np.array(preempt, dtype=np.int64),
            held=np.array(held, dtype=np.int64),
            running=np.array(running, dtype=np.int64),
            token_budget=budget,
            stands=False,
        )


def check(scheduler, live):
    """Nobody lost, nobody twice, and our picture is the engine's."""
    waiting = [r.request_id for r in scheduler.waiting]
    running = [r.request_id for r in scheduler.running]
    everywhere = waiting + running
    assert len(everywhere) == len(set(everywhere))
    assert set(everywhere) == set(scheduler.requests) == live
    assert len(running) <= SLOTS
    tracker = scheduler.driver.tracker
    snapshot = tracker.snapshot(now_s=0.0, latency=LATENCY)
    assert {tracker.request_id(h) for h in snapshot.running.handle.tolist()} == set(running)
    assert {tracker.request_id(h) for h in snapshot.waiting.handle.tolist()} == set(waiting)


@pytest.mark.parametrize("lag", [0, 1])
@pytest.mark.parametrize("policy_name", BLASTED)
@pytest.mark.parametrize("blocks", [40, 400])
def test_random_steps_lose_and_repeat_nothing(make_scheduler, policy_name, lag, blocks):
    rng = random.Random(f"{policy_name}{lag}{blocks}")
    chaos = Chaos(1) if policy_name == "chaos" else None
    scheduler = make_scheduler("fcfs" if chaos else policy_name, policy=chaos, blocks=blocks)
    in_flight = deque()
    live, ended, number = set(), [], 0
    for step in range(1500):
        if step < 1000 and rng.random() < 0.15:
            number += 1
            scheduler.add_request(new_request(f"r{number}", rng))
            live.add(f"r{number}")
        if live and rng.random() < 0.01:
            from vllm.v1.request import RequestStatus

            gone = rng.choice(sorted(live))
            scheduler.finish_requests(gone, RequestStatus.FINISHED_ABORTED)
            live.discard(gone)
        finished = run_step(scheduler, in_flight, lag=lag)
        ended += finished
        live -= set(finished)
        check(scheduler, live)
    for _ in range(6000):
        if not live:
            break
        finished = run_step(scheduler, in_flight, lag=lag)
        ended += finished
        live -= set(finished)
    assert not live, "some request starved"
    assert len(ended) == len(set(ended)), "some request ended twice"
    assert len(scheduler.driver.tracker) == 0
    assert scheduler.fallbacks == 0


def test_the_queue_is_served_in_the_decided_order(make_scheduler):
    rng = random.Random(0)

    class Backwards(Chaos):
        def step(self, snapshot, plan):
            return StepDecision(order=snapshot.waiting.handle[::-1])

    scheduler = make_scheduler("fcfs", policy=Backwards(0))
    for number in range(10):
        scheduler.add_request(new_request(f"r{number}", rng))
    scheduler.schedule()
    admitted = [r.request_id for r in scheduler.running]
    assert admitted == [f"r{n}" for n in range(9, 9 - len(admitted), -1)]


def test_what_the_prefix_cache_holds_needs_no_computing(make_scheduler):
    from vllm.sampling_params import SamplingParams
    from vllm.utils.hashing import sha256
    from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
    from vllm.v1.request import Request, RequestStatus

    init_none_hash(sha256)
    hasher = get_request_block_hasher(16, sha256)
    scheduler = make_scheduler("fcfs", caching=True)
    for name in "ab":
        params = SamplingParams(max_tokens=2, ignore_eos=True)
        prompt = list(range(100))
        scheduler.add_request(Request(name, prompt, params, None, block_hasher=hasher))
        output = scheduler.schedule()
        seen = scheduler.driver.tracker.snapshot(now_s=0.0, latency=LATENCY)
        assert output.num_scheduled_tokens[name] == (100 if name == "a" else 4)
        assert seen.running.prefill_left.tolist() == [0.0]
        scheduler.finish_requests(name, RequestStatus.FINISHED_ABORTED)


def test_a_policy_that_raises_leaves_the_engine_running(make_scheduler):
    class Broken(Chaos):
        def step(self, snapshot, plan):
            raise KeyError("broken")

    rng, in_flight = random.Random(0), deque()
    scheduler = make_scheduler("fcfs", policy=Broken(0))
    names = {f"r{number}" for number in range(8)}
    for name in sorted(names):
        scheduler.add_request(new_request(name, rng))
    ended = []
    for _ in range(500):
        ended += run_step(scheduler, in_flight, lag=1)
    assert set(ended) == names
    assert scheduler.fallbacks > 0


def test_what_a_preempted_request_finds_again_needs_no_computing(make_scheduler):
    from vllm.sampling_params import SamplingParams
    from vllm.utils.hashing import sha256
    from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
    from vllm.v1.request import Request

    init_none_hash(sha256)
    hasher, in_flight = get_request_block_hasher(16, sha256), deque()
    scheduler = make_scheduler("fcfs", caching=True)
    params = SamplingParams(max_tokens=9, ignore_eos=True)
    scheduler.add_request(Request("a", list(range(100)), params, None, block_hasher=hasher))
    run_step(scheduler, in_flight, lag=0)
    scheduler._preempt_request(scheduler.running.pop(), 0.0)
    scheduled = scheduler.schedule().num_scheduled_tokens
    assert 0 < scheduled["a"] < 100
    seen = scheduler.driver.tracker.snapshot(now_s=0.0, latency=LATENCY)
    assert seen.running.prefill_left.tolist() == [0.0]
