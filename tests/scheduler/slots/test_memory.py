"""Admission by the forecast peak of KV memory."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slot_problems import read, request, snapshot

from predictor.distribution import LengthDistribution
from scheduler.driver import Driver
from scheduler.registry import create_policy
from scheduler.simulator.cluster import serve
from scheduler.simulator.engine import SimulatedEngine
from scheduler.simulator.request import SimRequest
from scheduler.simulator.step_time import StepTime
from scheduler.slo import Slo
from scheduler.slots.config import SlotConfig
from scheduler.slots.memory import fitting_now, giving_way, held_back
from scheduler.slots.problem import SlotProblem
from scheduler.snapshot import Limits
from scheduler.tracker import Arrival, Tracker

E2E, CHAT = Slo(e2e_s=30.0), Slo(ttft_s=30.0)


def problem(latency, *, running=(), waiting=(), slots=8, prompts=None, slo=E2E):
    """Requests of 100 prompt tokens, or as many as said, and so many output tokens each."""
    tracker = Tracker(limits=Limits(slots, 2048, 10_000))
    for number, tokens in enumerate([*running, *waiting]):
        lengths = LengthDistribution.point(tokens)
        prompt = 100 if prompts is None else prompts[number]
        tracker.arrived(Arrival(str(number), float(number), prompt, 4096, slo, lengths))
        if number < len(running):
            tracker.scheduled({str(number): prompt})
    return SlotProblem.of(tracker.snapshot(now_s=10.0, latency=latency), SlotConfig())


def held(built, kv_tokens, risk=0.05, **given):
    order = np.arange(len(built))
    return held_back(built, order, kv_tokens=kv_tokens, risk=risk, **given).tolist()


def test_nobody_is_held_back_where_memory_is_plenty(latency):
    assert held(problem(latency, running=[300, 300], waiting=[300] * 4), 10_000) == []


def test_who_would_not_fit_later_is_held_back_though_it_fits_now(latency):
    built = problem(latency, running=[900], waiting=[900, 900])
    assert held(built, 2_300) == [2]
    assert held(built, 1_200) == [1, 2]


def test_who_fits_passes_one_that_does_not(latency):
    # The second needs 1,500 tokens and waits for the first; the third is gone by then.
    built = problem(latency, running=[900], waiting=[5, 5], prompts=[500, 1500, 100])
    assert held(built, 2_000) == [1]


def test_nobody_passes_who_would_make_the_foremost_of_the_held_wait_longer(latency):
    # When the first is done the second needs all the memory there is; the third would have some.
    built = problem(latency, running=[300], waiting=[5, 900], prompts=[500, 1900, 100])
    assert held(built, 2_000) == [1, 2]
    assert held(built, 3_500) == []


def test_memory_is_set_aside_for_all_of_the_first(latency):
    # The first to wait comes in after the one that runs, the second after it; the third could
    # pass the first alone.
    sizes = {"running": [300], "waiting": [5, 5, 600], "prompts": [500, 1490, 1900, 20]}
    built = problem(latency, **sizes)
    assert held(built, 2_000, first=0) == [1, 2]
    assert held(built, 2_000, first=3) == [1, 2, 3]


def test_who_gains_less_than_requests_to_come_leaves_them_the_memory(latency):
    built = problem(latency, running=[900], waiting=[900, 900, 20])
    gain = np.array([1.0, -0.1, 1.0, 1.0])
    assert held(built, 2_300, gain=gain) == [1]
    # Not where memory is plenty, nor past the ageing bound.
    assert held(built, 10_000, gain=gain) == []
    assert held(built, 2_300, gain=gain, first=2) == [2]


def test_with_nobody_running_the_first_comes_in(latency):
    assert held(problem(latency, waiting=[4000, 5]), 200) == [1]
    gain = np.array([-1.0, -1.0])
    assert held(problem(latency, waiting=[4000, 5]), 200, gain=gain) == [1]


class TestFittingNow:
    """One runs; four wait with prompts of 100 to 400 tokens, and all are held."""

    def admitted(
        self, latency, *, kv_free, slo=CHAT, order=(1, 2, 3, 4), gain=0.5, first=(), left=1.0
    ):
        sizes = {"running": [900], "waiting": [900] * 4, "prompts": [50, 100, 200, 300, 400]}
        found = fitting_now(
            problem(latency, **sizes, slo=slo),
            np.array(order),
            kv_free=kv_free,
            left=np.array([left]),
            gain=np.full(5, gain),
            first=np.array(first, dtype=np.int64),
        )
        return found.tolist()

    def test_as_many_as_free_memory_takes_with_a_block_to_spare(self, latency):
        assert self.admitted(latency, kv_free=131.0) == []
        assert self.admitted(latency, kv_free=132.0) == [1]
        assert self.admitted(latency, kv_free=100 + 200 + 300 + 3 * 32) == [1, 2, 3]

    def test_only_who_waits_for_a_first_token_that_can_be_in_time(self, latency):
        assert self.admitted(latency, kv_free=5_000.0, slo=E2E) == []
        assert self.admitted(latency, kv_free=5_000.0, slo=Slo(ttft_s=1.0)) == []

    def test_who_fits_passes_one_that_does_not(self, latency):
        assert self.admitted(latency, kv_free=300.0, order=(4, 1, 3, 2)) == [1]
        assert self.admitted(latency, kv_free=400.0, order=(4, 1, 3, 2)) == [1, 2]

    def test_nobody_whose_prefill_is_worth_more_to_requests_to_come(self, latency):
        assert self.admitted(latency, kv_free=5_000.0, gain=0.0) == []

    def test_the_first_keep_the_memory_that_they_still_need(self, latency):
        # The fourth is past the ageing bound: 432 tokens are its own.
        assert self.admitted(latency, kv_free=500.0, first=[4]) == []
        assert self.admitted(latency, kv_free=600.0, first=[4]) == [1]
        # So are the 450 tokens that the one that runs has yet to compute.
        assert self.admitted(latency, kv_free=500.0, first=[0], left=450.0) == []
        assert self.admitted(latency, kv_free=600.0, first=[0], left=450.0) == [1]


def test_who_gives_way_leaves_its_memory_and_waits(latency):
    built = problem(latency, running=[900, 900], waiting=[900])
    assert held(built, 2_300) == [2]
    order = np.array([0, 2, 1])
    assert held_back(built, order, kv_tokens=2_300, risk=0.05, gone=order[2:]).tolist() == [1]


def test_the_front_of_an_order_takes_the_memory_of_those_behind(latency):
    built = problem(latency, running=[10, 10], waiting=[10, 10], prompts=[4000, 4000, 1000, 5000])
    for order, gone, ahead in (
        ([0, 1, 2, 3], [], [2]),
        ([0, 2, 1, 3], [], [2]),
        ([0, 3, 1, 2], [1], [3]),
        ([3, 0, 1, 2], [1], [3]),
    ):
        found = giving_way(built, np.array(order))
        assert [each.tolist() for each in found] == [gone, ahead]


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_whoever_comes_in_fits_at_every_moment_by_forecast(data):
    """With lengths known for certain: the sum over those who run and come in never exceeds it."""
    size = data.draw(st.integers(1, 6))
    requests = [
        request(
            tokens=data.draw(st.integers(1, 900)),
            prompt=data.draw(st.integers(1, 900)),
            running=number < size // 2,
        )
        for number in range(size)
    ]
    kv_tokens = data.draw(st.integers(1500, 4000))
    built = read(snapshot(*requests, slots=8))
    out = held(built, kv_tokens)
    runs = [i for i in range(size) if i not in out]
    # Of nobody running the first comes in, whatever it takes.
    if len(runs) > max(built.running, 1):
        for moment in range(901):
            alive = [i for i in runs if built.atoms[i, 0] > moment]
            assert sum(built.context[i] + moment for i in alive) <= kv_tokens
    assert not held(built, 10**7)


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
