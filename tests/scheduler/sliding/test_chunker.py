"""The budget of a step, seen with the next."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sliding_batches import LATENCY, batch

from scheduler.latency import StepLatency, StepWork
from scheduler.sliding.chunker import chunk_bound_s, prompt_tokens
from scheduler.sliding.config import SlidingConfig

CONFIG = SlidingConfig()


def tokens(candidates, decodes, *, most=1000, latency=LATENCY, config=CONFIG, running=0):
    made = batch(candidates, decodes, running=running)
    return prompt_tokens(made, np.arange(len(made.left)), latency, most, config)


def test_nobody_decodes_and_the_whole_budget_is_free():
    assert tokens([(5000, inf)], []) == 1000
    assert tokens([(5000, inf)], [], most=0) == 0


def test_the_least_slack_of_the_safe_bounds_the_step():
    # 10 ms a step and 1 ms an answer leave 89 ms of 101 ms: 890 tokens.
    assert tokens([(5000, inf)], [(0.10101, 0.05), (9.0, 0.05)]) == 890


def test_who_is_late_anyway_bounds_nothing():
    late = (0.0119, 0.05)  # two answers alone take 12 ms
    assert tokens([(5000, inf)], [(0.10211, 0.05), late]) == 901
    assert tokens([(5000, inf)], [late, late]) == 1000
    assert chunk_bound_s(batch([], [late, late]), LATENCY) == inf


def test_a_linear_model_takes_the_larger_part():
    # 290 tokens fit now, and all ways to part 200 cost the same.
    assert tokens([(200, inf)], [(0.04, 0.04)]) == 200


def test_squares_are_shared_out_between_the_two_steps():
    squared = StepLatency(whole=(0, 1e-6, 0, 1e-3, 0, 1e-5, 0, 0.01))
    joint = SlidingConfig(strict_window=False, least_tokens=1)
    wanted = tokens([(400, inf)], [(0.5, 0.5)], latency=squared, config=joint)
    assert wanted == pytest.approx(200, abs=2)


def test_the_strict_window_leaves_the_next_step_what_fits_after_this():
    squared = StepLatency(whole=(0, 1e-6, 0, 1e-3, 0, 1e-5, 0, 0.01))
    config = SlidingConfig(strict_window=True, least_tokens=1)
    # The next step has 30 ms: 0.019 s of squares and tokens, 132 of them.
    assert tokens([(400, inf)], [(0.5, 0.03)], latency=squared, config=config) >= 400 - 133


chunks = st.lists(st.tuples(st.integers(2, 3000), st.floats(0, 5)), min_size=1, max_size=6)
answers = st.lists(st.tuples(st.floats(0.0, 0.3), st.floats(0.01, 0.2)), max_size=6)
costs = st.tuples(
    st.floats(0, 1e-7), st.floats(0, 1e-6), st.floats(0, 1e-6), st.floats(0, 3e-3),
    st.floats(0, 1e-6), st.floats(0, 1e-4), st.floats(0, 1e-5), st.floats(1e-4, 0.05),
)  # fmt: skip


def seconds(latency, decodes, left, done, now):
    """A step in which the prompts get ``now`` tokens after ``done``."""
    work = StepWork(decodes=decodes, decode_cached=50.0 * decodes)
    for length in left:
        before = min(done, length)
        done -= before
        chunk = min(length - before, now)
        now -= chunk
        if chunk == 1:
            work = work._replace(
                decodes=work.decodes + 1, decode_cached=work.decode_cached + before
            )
        elif chunk > 1:
            work = work._replace(
                products=work.products + chunk * before,
                squares=work.squares + chunk**2,
                prefill_cached=work.prefill_cached + before,
                prefill_tokens=work.prefill_tokens + chunk,
                longest=max(work.longest, chunk),
            )
    return latency.seconds(work)


@settings(deadline=None)
@given(costs, chunks, answers, st.integers(1, 4000), st.booleans())
def test_no_safe_token_is_made_late(model, candidates, decodes, most, strict):
    latency = StepLatency(model)
    config = replace(CONFIG, strict_window=strict)
    now = tokens(candidates, decodes, most=most, latency=latency, config=config)
    assert 0 <= now <= most
    left = [c[0] for c in candidates]
    alone_s = seconds(latency, len(decodes), left, 0, 0)
    took_s = seconds(latency, len(decodes), left, 0, now)
    for slack_s, _ in decodes:
        if slack_s >= alone_s:
            assert took_s <= slack_s + 1e-12
    if not any(slack_s >= alone_s for slack_s, _ in decodes):
        assert now == most
