"""What the scheduler knows of a request's length and SLO, from vLLM's own request."""

from collections import deque

import numpy as np
import pytest
from vllm_steps import LATENCY, run_step

from predictor.distribution import LengthDistribution
from scheduler.slo import Slo
from scheduler.snapshot import Column
from serving.xargs import encode

pytest.importorskip("vllm", reason="vLLM is not installed (extra: cpu or gpu)")
pytestmark = pytest.mark.engine

SLOS = "classes:\n  code: {e2e_ms: 30000}\n  chat: {ttft_ms: 5000, tpot_ms: 100, priority: 1}\n"
FORECAST = LengthDistribution(edges=np.array([0, 50]), probabilities=np.ones(1))


@pytest.fixture
def slo_file(tmp_path, monkeypatch):
    path = tmp_path / "slos.yaml"
    path.write_text(SLOS)
    monkeypatch.setenv("SLOTWISE_SLO_CONFIG", str(path))
    return path


def request(name="r", *, prompt=20, slo=None, xargs=None, slo_class="chat", lengths=None, **params):
    from vllm.sampling_params import SamplingParams
    from vllm.v1.request import Request

    if xargs is None:
        xargs = encode(slo_class=slo_class, slo=slo, lengths=lengths)
    sampling = SamplingParams(**{"max_tokens": 40, **params}, extra_args=xargs)
    return Request(name, [1] * prompt, sampling, None)


def told(scheduler):
    """The waiting as the policy sees them, and the forecast of the first."""
    snapshot = scheduler.driver.tracker.snapshot(now_s=0.0, latency=LATENCY)
    handle = int(snapshot.waiting.handle[0])
    return snapshot.waiting, snapshot.lengths.edges[handle], snapshot.lengths.cdf[handle]


def targets(scheduler):
    waiting, _, _ = told(scheduler)
    return [waiting.ttft_s[0], waiting.tpot_s[0], waiting.e2e_s[0]]


@pytest.mark.parametrize("slo_class", [None, "gold"])
def test_a_request_without_a_class_has_no_slo(make_scheduler, slo_file, slo_class):
    scheduler = make_scheduler()
    scheduler.add_request(request(xargs={} if slo_class is None else encode(slo_class=slo_class)))
    assert targets(scheduler) == [np.inf] * 3


def test_a_request_without_a_class_is_of_the_default_class(make_scheduler, slo_file):
    slo_file.write_text(SLOS + "default_class: chat\n")
    scheduler = make_scheduler()
    scheduler.add_request(request(xargs={}))
    assert targets(scheduler) == [5.0, 0.1, np.inf]


def test_an_slo_stated_in_full_replaces_the_classs(make_scheduler, slo_file):
    scheduler = make_scheduler()
    scheduler.add_request(request(slo=Slo(e2e_s=9.0)))
    assert targets(scheduler) == [np.inf, np.inf, 9.0]


@pytest.mark.parametrize("lengths", [FORECAST, None])
@pytest.mark.parametrize(
    ("params", "least", "most"),
    [
        ({"ignore_eos": True}, 40, 40),
        ({"min_tokens": 40}, 40, 40),
        ({"min_tokens": 30}, 30, 40),
        ({}, 1, 40),
        # 512 tokens of context, 500 of them taken by the prompt.
        ({"max_tokens": 400, "prompt": 500}, 1, 12),
        ({"max_tokens": 400, "prompt": 500, "ignore_eos": True}, 12, 12),
    ],
)
def test_a_forecast_keeps_the_limits_whoever_made_it(
    make_scheduler, slo_file, lengths, params, least, most
):
    scheduler = make_scheduler(blocks=400)
    scheduler.add_request(request(lengths=lengths, **params))
    waiting, edges, cdf = told(scheduler)
    assert np.interp([least - 1, most], edges, cdf).tolist() == [0.0, 1.0]
    assert waiting.values[Column.MAX_TOKENS, 0] == most


@pytest.mark.parametrize(
    ("policy", "hints", "sent", "wanted"),
    [
        # Of class chat, whose priority is 1.
        ("priority", {"priority": 1}, 0, 1),
        ("slotwise", {"priority": 1}, 0, 0),
        ("slotwise", {"priority": -2, "own_priority": -2}, 0, -2),
        ("priority", {"priority": -2, "own_priority": -2}, 0, -2),
        # Without the middleware vLLM's own number counts.
        ("slotwise", {}, 5, 5),
        ("priority", {}, 5, 5),
    ],
)
def test_a_requests_own_priority_acts_and_its_classs_under_priority_alone(
    make_scheduler, slo_file, policy, hints, sent, wanted
):
    scheduler = make_scheduler(policy)
    asked = request(xargs=encode(slo_class="chat", **hints))
    asked.priority = sent
    scheduler.add_request(asked)
    waiting, _, _ = told(scheduler)
    assert waiting.priority.tolist() == [wanted]


def test_a_request_of_a_lower_number_is_scheduled_first(make_scheduler, slo_file):
    scheduler = make_scheduler()
    for number in range(12):
        xargs = encode(slo_class="chat", own_priority=number % 3)
        scheduler.add_request(request(f"{number % 3}-{number}", prompt=30, xargs=xargs))
    in_flight, begun = deque(), []
    while len(begun) < 12:
        run_step(scheduler, in_flight, lag=0)
        for each in scheduler.running:
            if each.request_id not in begun:
                begun.append(each.request_id)
    assert [name[0] for name in begun] == sorted(name[0] for name in begun)


def served(scheduler, *requests):
    for each in requests:
        scheduler.add_request(each)
    in_flight, steps = deque(), 0
    while scheduler.requests and steps < 500:
        run_step(scheduler, in_flight, lag=0)
        steps += 1
    assert not scheduler.requests


def test_forced_and_broken_off_outputs_teach_the_prior_nothing(make_scheduler, slo_file):
    scheduler = make_scheduler()
    before = scheduler._priors.prior("chat", 40)
    many = 96
    forced = [request(f"f{n}", ignore_eos=True, max_tokens=5) for n in range(many)]
    forced += [request(f"m{n}", min_tokens=5, max_tokens=5) for n in range(many)]
    served(scheduler, *forced)
    for number in range(many):
        scheduler.add_request(request(f"a{number}"))
        run_step(scheduler, deque(), lag=0)
        from vllm.v1.request import RequestStatus

        scheduler.finish_requests(f"a{number}", RequestStatus.FINISHED_ABORTED)
    assert scheduler._priors.prior("chat", 40).equal(before)
    served(scheduler, *[request(f"n{n}", max_tokens=5) for n in range(many)])
    assert scheduler._priors.prior("chat", 40).mean == pytest.approx(5.0, abs=0.5)


@pytest.mark.parametrize("allowed", [True, False])
def test_a_recorded_length_ends_the_output_and_no_policy_knows_it(
    make_scheduler, slo_file, monkeypatch, allowed
):
    monkeypatch.setenv("SLOTWISE_REPLAY_LENGTHS", str(allowed))
    scheduler = make_scheduler()
    xargs = {**encode(slo_class="chat"), "replay_output_tokens": 7}
    recorded = request(xargs=xargs, ignore_eos=True)
    scheduler.add_request(recorded)
    waiting, edges, cdf = told(scheduler)
    assert waiting.values[Column.MAX_TOKENS, 0] == 40
    if allowed:  # flat, as of a request that says nothing
        assert np.interp(7, edges, cdf) < 1.0
        assert np.interp(39, edges, cdf) > 0.0
    served(scheduler)
    assert recorded.num_output_tokens == (7 if allowed else 40)


def test_a_stock_engine_ends_at_recorded_lengths_too(make_scheduler, monkeypatch):
    monkeypatch.setenv("SLOTWISE_REPLAY_LENGTHS", "true")
    scheduler = make_scheduler(mode="off")
    recorded = request(xargs={"replay_output_tokens": 7}, ignore_eos=True)
    served(scheduler, recorded)
    assert recorded.num_output_tokens == 7
