"""Long prompts in overload, on an engine whose KV memory holds few of them."""

from dataclasses import replace

import numpy as np
import pytest
from long_chats import draw_chats, outcomes_of

from predictor.distribution import LengthDistribution
from scheduler.policies.qoserve import QoServePolicy
from scheduler.policies.slotwise import SlotwisePolicy
from scheduler.simulator.request import SimRequest
from scheduler.slo import Slo
from scheduler.slots.config import SlotConfig
from scheduler.snapshot import Limits

# As a large GPU steps; memory for ten prompts of mean length, slots for far more.
LIMITS = Limits(max_num_seqs=256, max_batched_tokens=8192, kv_tokens=120_000)
OVERDUE_S = 30.0


def long_prompts(seed, *, count=160, rps=2.4):
    sizes = {"prompts": (6500, 1.1, 100, 60_000), "outputs": (200, 0.6, 1, 1000)}
    return draw_chats(seed, count=count, rps=rps, ttft_s=5.0, **sizes)


def burst(seed, *, count=300, rps=80.0):
    """Short prompts, far more than memory holds, with a tight TTFT and an ample TPOT."""
    sizes = {"prompts": (164, 1.1, 1, 3000), "outputs": (266, 0.7, 1, 1360)}
    return draw_chats(seed, count=count, rps=rps, ttft_s=2.0, **sizes)


def outcomes(policy, requests, limits=LIMITS):
    return outcomes_of(policy, requests, limits)


def slotwise(overdue_s=OVERDUE_S):
    return SlotwisePolicy(SlotConfig(time_box_s=np.inf, max_moves=64, overdue_s=overdue_s))


def attainment(found):
    return float(np.mean([outcome.met for outcome in found]))


@pytest.mark.parametrize("seed", range(2))
def test_slotwise_attains_at_least_what_qoserve_attains(seed):
    requests = long_prompts(seed)
    ours, theirs = outcomes(slotwise(np.inf), requests), outcomes(QoServePolicy(), requests)
    assert attainment(ours) >= attainment(theirs) - 0.01


@pytest.mark.parametrize("seed", range(2))
def test_a_first_token_that_fits_now_does_not_wait_for_a_shortage_to_come(seed):
    # Streams gain 90 ms a token on their TPOT: they can be paused when memory does run out.
    limits = replace(LIMITS, kv_tokens=57_000)
    assert attainment(outcomes(slotwise(np.inf), burst(seed), limits)) >= 0.92


@pytest.mark.parametrize("seed", range(2))
def test_those_past_the_ageing_bound_cost_the_others_no_more_than_their_share(seed):
    requests = long_prompts(seed)
    without, aged = outcomes(slotwise(np.inf), requests), outcomes(slotwise(), requests)
    assert attainment(aged) >= attainment(without) - 1.0 / SlotConfig().overdue_share


def test_the_largest_prompt_does_not_starve_behind_those_that_fit():
    """It needs nearly all the memory there is, and small ones never stop coming."""
    small = long_prompts(5, count=300)
    small = [request for request in small if request.prompt_tokens < 12_000]
    large = SimRequest(
        request_id="large",
        arrival_s=small[0].arrival_s,
        prompt_tokens=110_000,
        output_tokens=100,
        slo=Slo(ttft_s=5.0, tpot_s=0.1),
        lengths=LengthDistribution.point(100),
    )
    found = outcomes(slotwise(), [small[0], large, *small[1:]])
    served = next(each for each in found if each.request.request_id == "large")
    last_s = max(each.request.arrival_s for each in found)
    # Once overdue it waits for those that run, and its prefill has its share of the steps.
    assert served.ttft_s <= 3.0 * OVERDUE_S
    assert last_s > 3.0 * OVERDUE_S
