"""A backlog of long prompts with time to wait, beside streams that have little to spare."""

import numpy as np
import pytest
from long_chats import draw_chats, outcomes_of

from scheduler.policies.slotwise import SlotwisePolicy
from scheduler.slots.config import SlotConfig
from scheduler.snapshot import Limits

# Memory for everybody.
LIMITS = Limits(max_num_seqs=256, max_batched_tokens=8192, kv_tokens=10**9)


def long_prompts(seed, *, count=240, rps=2.2):
    sizes = {"prompts": (6500, 1.1, 100, 60_000), "outputs": (270, 0.7, 1, 1360)}
    return draw_chats(seed, count=count, rps=rps, ttft_s=15.0, **sizes)


@pytest.mark.parametrize("seed", range(3))
def test_a_backlog_of_prompts_breaks_the_tpot_of_few_streams(seed):
    policy = SlotwisePolicy(SlotConfig(time_box_s=np.inf, max_moves=64))
    found = outcomes_of(policy, long_prompts(seed), LIMITS)
    in_time = [outcome for outcome in found if outcome.ttft_s <= 15.0]
    assert len(in_time) >= 0.9 * len(found)
    assert np.mean([outcome.met for outcome in in_time]) >= 0.98
