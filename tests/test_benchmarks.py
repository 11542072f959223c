"""The benchmark scripts: what they leave in a published file, and the ceiling's rule."""

import itertools
import runpy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parent.parent / "benchmarks"
ceiling = runpy.run_path(str(ROOT / "ceiling.py"))
summarise = runpy.run_path(str(ROOT / "summarise.py"))["summarise"]
Job, most_on_time = ceiling["Job"], ceiling["most_on_time"]

jobs = st.builds(Job, work_s=st.floats(0.1, 5), due_s=st.floats(0.1, 12))


def on_time(order):
    busy = itertools.accumulate(job.work_s for job in order)
    return sum(end <= job.due_s + 1e-9 for end, job in zip(busy, order, strict=True))


@given(st.lists(jobs, max_size=6))
def test_no_order_of_the_jobs_beats_the_ceiling(some):
    best = max((on_time(order) for order in itertools.permutations(some)), default=0)
    assert most_on_time(some) == best


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
