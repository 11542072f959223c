import numpy as np
import pytest

from predictor.distribution import LengthDistribution, log_edges, stack
from predictor.errors import SnapshotError
from scheduler.latency import StepLatency
from scheduler.request_pool import LENGTH_BINS
from scheduler.slo import Slo
from scheduler.snapshot import Limits
from scheduler.tracker import Arrival, Tracker

LATENCY = StepLatency.linear(step_s=1e-2, decode_s=1e-3, prompt_token_s=1e-4)
LIMITS = Limits(4, 512, 10_000)


def arrivals(count: int) -> list[Arrival]:
    rng = np.random.default_rng(0)
    edges = log_edges(512, 16)
    return [
        Arrival(
            request_id=str(number),
            arrival_s=float(rng.random()),
            prompt_tokens=int(rng.integers(1, 99)),
            max_tokens=512,
            slo=Slo(e2e_s=3.0) if number % 2 else Slo(ttft_s=1.0, tpot_s=0.1),
            lengths=LengthDistribution(edges, rng.dirichlet(np.ones(16))),
            priority=number,
        )
        for number in range(count)
    ]


def test_together_is_one_by_one():
    """More than the pool holds at first, so it has to grow."""
    several = arrivals(700)
    singly = Tracker(limits=LIMITS)
    for arrival in several:
        singly.arrived(arrival)
    wanted = singly.snapshot(now_s=2.0, latency=LATENCY)
    together = Tracker(limits=LIMITS)
    edges, cdf = stack([arrival.lengths for arrival in several], LENGTH_BINS)
    names = [arrival.request_id for arrival in several]
    order = [singly.handle(name) for name in names]
    by_handle = {
        int(h): column
        for h, column in zip(wanted.waiting.handle, wanted.waiting.values.T, strict=True)
    }
    values = np.array([by_handle[handle] for handle in order]).T
    handles = together.arrived_together(names, values, edges, cdf)
    found = together.snapshot(now_s=2.0, latency=LATENCY)
    assert together.request_ids(found.waiting.handle) == singly.request_ids(wanted.waiting.handle)
    np.testing.assert_array_equal(found.waiting.values[1:], wanted.waiting.values[1:])
    np.testing.assert_array_equal(found.lengths.atoms[handles], wanted.lengths.atoms[order])
    assert together.arrivals == 700
    assert together.version == 1


def test_ids_are_unique():
    tracker = Tracker(limits=LIMITS)
    (arrival,) = arrivals(1)
    tracker.arrived(arrival)
    edges, cdf = stack([arrival.lengths] * 2, LENGTH_BINS)
    values = np.zeros((13, 2))
    for names in (["x", "x"], ["x", "0"]):
        with pytest.raises(SnapshotError, match="twice"):
            tracker.arrived_together(names, values, edges, cdf)
