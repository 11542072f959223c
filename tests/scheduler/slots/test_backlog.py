"""A backlog of long prompts with time to wait, beside streams that have little to spare."""

import numpy as np
import pytest

from predictor.distribution import LengthDistribution
from scheduler.driver import Driver
from scheduler.latency import StepLatency
from scheduler.policies.slotwise import SlotwisePolicy
from scheduler.simulator.cluster import serve
from scheduler.simulator.engine import SimulatedEngine
from scheduler.simulator.request import SimRequest
from scheduler.simulator.step_time import StepTime
from scheduler.slo import Slo
from scheduler.slots.config import SlotConfig
from scheduler.snapshot import Limits

# As a large GPU steps, with memory for everybody.
LATENCY = StepLatency.linear(
    step_s=6.4e-3,
    decode_s=1.1e-5,
    context_token_s=4.1e-8,
    prefill_step_s=5.8e-3,
    prompt_token_s=1.5e-5,
    squared_token_s=8.7e-10,
)
LIMITS = Limits(max_num_seqs=256, max_batched_tokens=8192, kv_tokens=10**9)


def long_prompts(seed, *, count=240, rps=2.2):
    rng = np.random.default_rng(seed)
    prompts = np.clip(rng.lognormal(np.log(6500), 1.1, count), 100, 60_000).astype(int)
    answers = np.clip(rng.lognormal(np.log(270), 0.7, count), 1, 1360).astype(int)
    arrival_s = np.cumsum(rng.exponential(1.0 / rps, count))
    return [
        SimRequest(
            request_id=str(k),
            arrival_s=float(arrival_s[k]),
            prompt_tokens=int(prompts[k]),
            output_tokens=int(answers[k]),
            slo=Slo(ttft_s=15.0, tpot_s=0.1),
            lengths=LengthDistribution.point(int(answers[k])),
        )
        for k in range(count)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_a_backlog_of_prompts_breaks_the_tpot_of_few_streams(seed):
    policy = SlotwisePolicy(SlotConfig(time_box_s=np.inf, max_moves=64))
    driver = Driver(policy=policy, limits=LIMITS, latency=LATENCY, time_box_s=np.inf)
    engine = SimulatedEngine(driver=driver, limits=LIMITS, step_time=StepTime.of_latency(LATENCY))
    found = serve([engine], long_prompts(seed))
    in_time = [outcome for outcome in found if outcome.ttft_s <= 15.0]
    assert len(in_time) >= 0.9 * len(found)
    assert np.mean([outcome.met for outcome in in_time]) >= 0.98
