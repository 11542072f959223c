"""The benchmark scripts: what they leave in a published file."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from predictor.distribution import LengthDistribution

ROOT = Path(__file__).parent.parent / "benchmarks"
summarise = runpy.run_path(str(ROOT / "summarise.py"))["summarise"]


def test_a_published_file_holds_no_requests_and_no_paths():
    one = {
        "config": {"seed": 0, "output": "/tmp/x", "num_prompts": 2},
        "policies": {"fcfs": {"slo_attainment": 0.5, "classes": {}}, "sjf": {"classes": {}}},
        "requests": [{}],
        "queue": {},
    }
    two = {
        **one,
        "config": {"seed": 1},
        "policies": {"fcfs": {"slo_attainment": 0.7, "classes": {}}},
    }
    document = summarise([one, two])
    assert set(document) == {"config", "policies"}
    assert document["config"] == {
        "seed": 0,
        "num_prompts": 2,
        "policies": ["fcfs"],
        "seeds": [0, 1],
    }
    assert document["policies"]["fcfs"]["slo_attainment"] == pytest.approx(0.6)
    low, high = document["policies"]["fcfs"]["interval_95"]["slo_attainment"]
    assert low < 0.5
    assert high > 0.7


async def test_a_request_names_its_rule_and_its_forecast_counts_for_router_and_engine(monkeypatch):
    from benchmarks.switching_router import FORECAST, RULE, SwitchingRouter
    from serving.xargs import decode, encode

    class Seen:
        async def choose_replicas(self, candidates, pending):
            return [candidates, pending.args[0]]

    monkeypatch.setattr(SwitchingRouter, "rules", {"slo": None, "seen": Seen})
    told, forecast = LengthDistribution.point(7), LengthDistribution.point(90)
    xargs = {**encode(slo_class="chat", lengths=told), RULE: "seen", FORECAST: forecast.to_floats()}
    request = SimpleNamespace(vllm_xargs=xargs)
    router = object.__new__(SwitchingRouter)
    chosen = await router.choose_replicas(["a"], SimpleNamespace(args=[request]))
    assert chosen == [["a"], request]
    assert decode(request.vllm_xargs).lengths.mean == forecast.mean
