import time

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scheduler.annealing.clock import now_ns
from scheduler.annealing.draws import below, unit


def test_the_kernel_reads_the_clock_that_the_caller_reads():
    buffer = np.empty(2, dtype=np.int64)
    now_ns(buffer)
    before = time.monotonic_ns()
    inside = now_ns(buffer)
    assert before <= inside <= time.monotonic_ns()


@given(st.integers(0, 2**64 - 1), st.integers(1, 1000))
def test_draws_stay_in_their_range(seed, limit):
    rng = np.array([seed], dtype=np.uint64)
    assert all(0 <= below(rng, limit) < limit for _ in range(20))
    assert all(0.0 <= unit(rng) < 1.0 for _ in range(20))


def test_draws_are_even():
    rng = np.array([7], dtype=np.uint64)
    counts = np.bincount([below(rng, 6) for _ in range(12_000)], minlength=6)
    assert np.abs(counts - 2000).max() < 200
    assert abs(np.mean([unit(rng) for _ in range(10_000)]) - 0.5) < 0.02
