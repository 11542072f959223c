"""Policies in the simulated engine: they differ, they finish, nobody starves."""

from dataclasses import replace

import numpy as np
import pytest

from predictor.distribution import LengthDistribution
from scheduler.driver import Driver
from scheduler.latency import StepLatency
from scheduler.policies.slotwise import SlotwisePolicy
from scheduler.registry import create_policy, policy_names
from scheduler.simulator.cluster import serve
from scheduler.simulator.engine import SimulatedEngine
from scheduler.simulator.request import SimRequest
from scheduler.simulator.step_time import StepTime
from scheduler.slo import Slo
from scheduler.slots.config import SlotConfig
from scheduler.snapshot import Limits

LATENCY = StepLatency.linear(
    step_s=37e-3, decode_s=0.7e-3, context_token_s=1e-7, prefill_step_s=8e-3, prompt_token_s=0.5e-3
)
LIMITS = Limits(max_num_seqs=4, max_batched_tokens=512, kv_tokens=100_000)
CODE, CHAT = Slo(e2e_s=30.0), Slo(ttft_s=5.0, tpot_s=0.1)


def run(policy, requests, *, budget=512, kv_tokens=100_000):
    limits = replace(LIMITS, max_batched_tokens=budget, kv_tokens=kv_tokens)
    driver = Driver(policy=policy, limits=limits, latency=LATENCY, time_box_s=60.0)
    engine = SimulatedEngine(driver=driver, limits=limits, step_time=StepTime.of_latency(LATENCY))
    outcomes = serve([engine], requests)
    assert driver.fallbacks == 0
    return outcomes


def crafted(count=60, seed=0, prompts=300, *, priorities=True):
    """More than the engine can serve: long and short, code and chat, known lengths.

    With ``priorities`` every chat begins before any code.
    """
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.exponential(0.7, count))
    return [
        SimRequest(
            request_id=str(number),
            arrival_s=float(at),
            prompt_tokens=int(rng.integers(10, prompts)),
            output_tokens=(tokens := int(rng.choice([20, 60, 200, 500]))),
            slo=CODE if number % 2 else CHAT,
            lengths=LengthDistribution.point(tokens),
            slo_class="code" if number % 2 else "chat",
            priority=number % 2 if priorities else 0,
        )
        for number, at in enumerate(arrivals)
    ]


@pytest.mark.parametrize("name", policy_names())
def test_every_policy_serves_everybody_once(name):
    outcomes = run(create_policy(name), crafted())
    assert sorted(int(o.request.request_id) for o in outcomes) == list(range(60))
    assert all(o.ttft_s > 0 and o.e2e_s >= o.ttft_s for o in outcomes)


def test_fcfs_admits_in_arrival_order():
    outcomes = run(create_policy("fcfs"), crafted())
    firsts = sorted(outcomes, key=lambda o: o.request.arrival_s)
    starts = [o.request.arrival_s + o.ttft_s for o in firsts]
    assert starts == sorted(starts)


@pytest.mark.parametrize("name", [n for n in policy_names() if n != "fcfs"])
def test_every_policy_differs_from_fcfs(name):
    # Short of memory, or who decides by memory alone decides nothing.
    order, fcfs = (
        [o.request.request_id for o in run(create_policy(each), crafted(), kv_tokens=1200)]
        for each in (name, "fcfs")
    )
    assert order != fcfs


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("shortest-feasible-first", "sjf"),
        ("unpredicted-boost", "edf"),
        ("qoserve", "edf"),
        ("qoserve+predicted", "qoserve"),
    ],
)
def test_neighbours_differ_as_well(name, other):
    orders = [
        [o.request.request_id for o in run(create_policy(n), crafted())] for n in (name, other)
    ]
    assert orders[0] != orders[1]


def test_sarathi_differs_from_edf_by_its_chunks():
    first_s, other_s = (
        [o.ttft_s for o in run(create_policy(name), crafted(prompts=1500), budget=2048)]
        for name in ("sarathi-edf", "edf")
    )
    assert first_s != other_s


def repeatable():
    return SlotwisePolicy(SlotConfig(time_box_s=60.0, max_moves=200))


@pytest.mark.parametrize("seed", range(3))
def test_slotwise_keeps_more_promises_than_simple_rules(seed):
    met = {
        name: np.mean([o.met for o in run(create_policy(name), crafted(seed=seed))])
        for name in ("fcfs", "edf", "sjf")
    }
    # A priority comes before value; the simple rules know none.
    ours = np.mean([o.met for o in run(repeatable(), crafted(seed=seed, priorities=False))])
    assert ours >= max(met.values())


def test_slotwise_is_no_worse_than_fcfs_without_a_queue():
    easy = [
        SimRequest(
            str(n), 20.0 * n, 50, 100, CODE if n % 2 else CHAT, LengthDistribution.point(100)
        )
        for n in range(10)
    ]
    for policy in (create_policy("fcfs"), repeatable()):
        assert all(o.met for o in run(policy, easy))


def test_slotwise_repeats_itself():
    first, second = (
        [(o.request.request_id, o.e2e_s) for o in run(repeatable(), crafted())] for _ in range(2)
    )
    assert first == second


def test_nothing_waits_for_ever_under_slotwise():
    """A hopeless request among endless short ones is served within the ageing bound.

    It comes once every slot is taken: a stream that has begun has a bound of its own.
    """
    bound_s = 40.0
    config = SlotConfig(time_box_s=60.0, max_moves=50, overdue_s=bound_s)
    hopeless = SimRequest("hopeless", 1.1, 50, 900, CODE, LengthDistribution.point(900))
    short = [
        SimRequest(str(n), 0.25 * n, 50, 60, CHAT, LengthDistribution.point(60)) for n in range(600)
    ]
    outcomes = {o.request.request_id: o for o in run(SlotwisePolicy(config), [hopeless, *short])}
    # It waits the bound at most, and then runs its 900 tokens without being pushed out again.
    assert outcomes["hopeless"].e2e_s < bound_s + 900 * 0.06
    without = SlotwisePolicy(SlotConfig(time_box_s=60.0, max_moves=50, overdue_s=1e9))
    starved = {o.request.request_id: o for o in run(without, [hopeless, *short])}
    assert starved["hopeless"].e2e_s > outcomes["hopeless"].e2e_s + 100.0
