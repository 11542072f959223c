"""A request that waits in vain is ended, if it may be, and the front end hears of it."""

import time
from collections import deque

import pytest
from vllm_steps import run_step

from predictor.distribution import LengthDistribution
from scheduler.slo import Slo
from serving.xargs import SHED, encode

pytest.importorskip("vllm", reason="vLLM is not installed (extra: cpu or gpu)")
pytestmark = pytest.mark.engine

LATE = Slo(ttft_s=1e-9)


def request(name, *, slo=LATE, sheddable=True):
    from vllm.sampling_params import SamplingParams
    from vllm.v1.request import Request

    lengths = LengthDistribution.point(5)
    xargs = encode(slo_class="chat", slo=slo, lengths=lengths, sheddable=sheddable)
    params = SamplingParams(max_tokens=5, ignore_eos=True, extra_args=xargs)
    return Request(name, [1] * 20, params, None)


def reported(scheduler):
    """What the front end is told until everybody is done: reasons by request."""
    told, in_flight, report = {}, deque(), scheduler._shedding.report

    def listen(outputs):
        report(outputs)
        for client in outputs.values():
            told.update({o.request_id: o.stop_reason for o in client.outputs})

    scheduler._shedding.report = listen
    while scheduler.requests or in_flight:
        run_step(scheduler, in_flight, lag=1 if scheduler.requests else 0)
    return told


@pytest.fixture
def listening(make_scheduler):
    from serving.vllm_shedding import Shedding

    class Listening(Shedding):
        pass

    def make(**settings):
        scheduler = make_scheduler(**settings)
        scheduler._shedding = Listening(may_be_cached=False)
        return scheduler

    return make


def test_only_who_may_be_shed_and_is_lost_is_shed(listening):
    scheduler = listening()
    scheduler.add_request(request("lost"))
    scheduler.add_request(request("kept", sheddable=False))
    scheduler.add_request(request("in time", slo=Slo(ttft_s=1e6)))
    assert reported(scheduler) == {"lost": SHED, "kept": None, "in time": None}
    assert len(scheduler.driver.tracker) == 0
    assert scheduler.fallbacks == 0


def test_without_a_latency_model_nobody_is_shed(listening):
    scheduler = listening()
    scheduler.driver._refit.latest = None
    scheduler.add_request(request("lost"))
    assert reported(scheduler) == {"lost": None}


def test_shadow_sheds_nobody(listening):
    scheduler = listening(mode="shadow")
    scheduler.add_request(request("lost"))
    assert reported(scheduler) == {"lost": None}


@pytest.mark.parametrize("skew_s", [-3600.0, 3600.0])
def test_the_clock_of_another_machine_ages_and_sheds_nobody(listening, skew_s):
    scheduler = listening()
    late = request("ours", slo=Slo(ttft_s=600.0))
    late.arrival_time = time.time() + skew_s
    before_s = time.monotonic()
    scheduler.add_request(late)
    seen = scheduler.driver.snapshot(now_s=time.monotonic()).waiting
    assert before_s <= seen.arrival_s[0] <= time.monotonic()
    assert reported(scheduler) == {"ours": None}


def test_of_a_long_queue_a_piece_is_looked_at_at_a_time_and_newcomers_at_once(
    listening, monkeypatch
):
    monkeypatch.setattr("serving.vllm_shedding._PIECE", 2)
    scheduler = listening()
    in_time = Slo(ttft_s=1e6)
    for name in "abcd":
        scheduler.add_request(request(name, slo=in_time))
    shedding, driver, now_s = scheduler._shedding, scheduler.driver, time.monotonic()
    assert shedding.lost(driver, now_s) == []
    later_s = now_s + 2e6
    assert shedding.lost(driver, later_s) == ["c", "d"]
    assert shedding.lost(driver, later_s + 0.01) == []
    scheduler.add_request(request("e"))
    assert shedding.lost(driver, later_s + 0.02) == ["e"]
    assert shedding.lost(driver, later_s + 0.2) == ["e"]
    assert shedding.lost(driver, later_s + 0.4) == ["a", "b"]
