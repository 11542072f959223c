"""The benchmark scripts: what they leave in a published file."""

import runpy
from pathlib import Path

import pytest

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
