"""Chats with heavy-tailed prompts on what steps like a large GPU."""

import numpy as np

from predictor.distribution import LengthDistribution
from scheduler.driver import Driver
from scheduler.latency import StepLatency
from scheduler.simulator.cluster import serve
from scheduler.simulator.engine import SimulatedEngine
from scheduler.simulator.request import SimRequest
from scheduler.simulator.step_time import StepTime
from scheduler.slo import Slo

LATENCY = StepLatency.linear(
    step_s=6.4e-3,
    decode_s=1.1e-5,
    context_token_s=4.1e-8,
    prefill_step_s=5.8e-3,
    prompt_token_s=1.5e-5,
    squared_token_s=8.7e-10,
)


def draw_chats(seed, *, count, rps, prompts, outputs, ttft_s):
    """Poisson arrivals; ``prompts`` and ``outputs`` are (median, sigma, least, most) in tokens."""
    rng = np.random.default_rng(seed)

    def draw(median, sigma, least, most):
        return np.clip(rng.lognormal(np.log(median), sigma, count), least, most).astype(int)

    prompt_tokens, output_tokens = draw(*prompts), draw(*outputs)
    arrival_s = np.cumsum(rng.exponential(1.0 / rps, count))
    return [
        SimRequest(
            request_id=str(k),
            arrival_s=float(arrival_s[k]),
            prompt_tokens=int(prompt_tokens[k]),
            output_tokens=int(output_tokens[k]),
            slo=Slo(ttft_s=ttft_s, tpot_s=0.1),
            lengths=LengthDistribution.point(int(output_tokens[k])),
        )
        for k in range(count)
    ]


def outcomes_of(policy, requests, limits, latency=LATENCY):
    """Serve the requests on one simulated engine, without a time box."""
    driver = Driver(policy=policy, limits=limits, latency=latency, time_box_s=np.inf)
    engine = SimulatedEngine(driver=driver, limits=limits, step_time=StepTime.of_latency(latency))
    return serve([engine], requests)
