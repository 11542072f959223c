"""What a prompt that is left to compute takes, with attention over what is cached."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from long_chats import draw_chats, outcomes_of

from predictor.distribution import LengthDistribution
from scheduler.latency import Scenario, StepLatency, StepWork
from scheduler.policies.slotwise import SlotwisePolicy
from scheduler.simulator.request import SimRequest
from scheduler.slo import Slo
from scheduler.slots.config import SlotConfig
from scheduler.slots.prompts import work_of
from scheduler.snapshot import Limits

# A token over 9,000 cached ones takes twice as long as one over none.
LATENCY = StepLatency((1.7e-9, 8.7e-10, 0.0, 1.2e-5, 4e-8, 1.53e-5, 0.0, 6e-3))
LIMITS = Limits(max_num_seqs=256, max_batched_tokens=8192, kv_tokens=10**9)


def chunked_s(left, cached, chunk=64):
    """Seconds of all chunks, without what a step takes anyway."""
    total_s = 0.0
    while left > 0:
        tokens = min(chunk, left)
        work = StepWork.alike(
            prefills=1, prefill_tokens=tokens, decodes=0, context_tokens=0, cached=cached
        )
        total_s += LATENCY.seconds(work) - LATENCY.whole[7]
        left, cached = left - tokens, cached + tokens
    return total_s


@given(st.integers(1, 60_000), st.integers(0, 60_000))
def test_work_is_time_in_tokens_over_an_empty_cache(left, cached):
    row = LATENCY.table[Scenario.PREFILL]
    work = work_of(np.array([float(left)]), np.array([float(cached)]), row).item()
    assert work * LATENCY.whole[5] == pytest.approx(chunked_s(left, cached), rel=0.02)


def test_where_nothing_grows_with_a_prompt_a_token_is_a_token():
    row = StepLatency.linear(step_s=0.05).table[Scenario.PREFILL]
    assert work_of(np.array([7.0]), np.array([900.0]), row).tolist() == [7.0]


def test_a_prompt_too_long_to_be_in_time_makes_nobody_late():
    """Alone it takes 14 s: the last of its tokens take eight times as long as the first."""
    short = draw_chats(
        3, count=60, rps=3.0, ttft_s=10.0, prompts=(2000, 0.5, 100, 8000), outputs=(60, 0.5, 2, 200)
    )
    endless = SimRequest(
        request_id="endless",
        arrival_s=short[0].arrival_s,
        prompt_tokens=120_000,
        output_tokens=100,
        slo=Slo(ttft_s=10.0, tpot_s=0.1),
        lengths=LengthDistribution.point(100),
    )
    policy = SlotwisePolicy(SlotConfig(time_box_s=np.inf, max_moves=64))
    found = outcomes_of(policy, [short[0], endless, *short[1:]], LIMITS, LATENCY)
    met = {outcome.request.request_id: outcome.met for outcome in found}
    assert not met.pop("endless")
    assert all(met.values())
