"""Admission by the forecast peak of KV memory."""

import numpy as np
import pytest

from predictor.distribution import LengthDistribution
from scheduler.driver import Driver
from scheduler.registry import create_policy
from scheduler.simulator.cluster import serve
from scheduler.simulator.engine import SimulatedEngine
from scheduler.simulator.request import SimRequest
from scheduler.simulator.step_time import StepTime
from scheduler.slo import Slo
from scheduler.slots.config import SlotConfig
from scheduler.slots.memory import held_back
from scheduler.slots.problem import SlotProblem
from scheduler.snapshot import Limits
from scheduler.tracker import Arrival, Tracker


def problem(latency, *, running=(), waiting=(), slots=8):
    """Requests of 100 prompt tokens and so many output tokens each."""
    tracker = Tracker(limits=Limits(slots, 2048, 10_000))
    for number, tokens in enumerate([*running, *waiting]):
        lengths = LengthDistribution.point(tokens)
        tracker.arrived(Arrival(str(number), float(number), 100, 4096, Slo(e2e_s=30.0), lengths))
        if number < len(running):
            tracker.scheduled({str(number): 100})
    return SlotProblem.of(tracker.snapshot(now_s=10.0, latency=latency), SlotConfig())


def held(built, kv_tokens, risk=0.05):
    order = np.arange(len(built))
    return held_back(built, order, kv_tokens=kv_tokens, risk=risk).tolist()


def test_nobody_is_held_back_where_memory_is_plenty(latency):
    assert held(problem(latency, running=[300, 300], waiting=[300] * 4), 10_000) == []


def test_who_would_not_fit_later_is_held_back_though_it_fits_now(latency):
    built = problem(latency, running=[900], waiting=[900, 900])
    assert held(built, 2_300) == [2]
    assert held(built, 1_200) == [1, 2]


def test_everybody_behind_the_first_held_one_is_held_too(latency):
    built = problem(latency, running=[900], waiting=[2000, 5])
    assert held(built, 2_000) == [1, 2]


def test_with_nobody_running_the_first_comes_in(latency):
    assert held(problem(latency, waiting=[4000, 5]), 200) == [1]


def test_a_smaller_risk_holds_no_fewer_back(latency):
    edges = [0, 100, 2000]
    unsure = LengthDistribution(np.array(edges), np.array([0.5, 0.5]))
    tracker = Tracker(limits=Limits(8, 2048, 10_000))
    for number in range(8):
        tracker.arrived(Arrival(str(number), 0.0, 100, 4096, Slo(), unsure))
    built = SlotProblem.of(tracker.snapshot(now_s=1.0, latency=latency), SlotConfig())
    counts = [len(held(built, 5_000, risk)) for risk in (0.4, 0.1, 0.01, 0.001)]
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]


@pytest.mark.parametrize("seed", range(3))
def test_slotwise_loses_less_memory_than_first_come_first_served(latency, seed):
    rng = np.random.default_rng(seed)
    limits = Limits(max_num_seqs=16, max_batched_tokens=512, kv_tokens=3_200)
    requests = [
        SimRequest(
            request_id=str(number),
            arrival_s=float(number) * 0.1,
            prompt_tokens=int(rng.integers(20, 120)),
            output_tokens=(tokens := int(rng.integers(20, 600))),
            slo=Slo(e2e_s=60.0),
            lengths=LengthDistribution.point(tokens),
        )
        for number in range(60)
    ]
    lost = {}
    for name in ("fcfs", "slotwise"):
        driver = Driver(
            policy=create_policy(name, repeatable=True),
            limits=limits,
            latency=latency,
            time_box_s=np.inf,
        )
        step_time = StepTime.of_latency(latency)
        engine = SimulatedEngine(driver=driver, limits=limits, step_time=step_time)
        lost[name] = sum(outcome.preemptions for outcome in serve([engine], requests))
    assert lost["slotwise"] <= 0.2 * lost["fcfs"]
