"""Random problems and the objective in plain Python."""

import numpy as np
import pytest

from scheduler.annealing import AnnealProblem
from scheduler.latency import StepLatency

LATENCY = StepLatency.linear(step_s=0.02, decode_s=2e-3, context_token_s=1e-6, prompt_token_s=2e-4)


def random_problem(seed, n, *, scenarios=1, max_batch=3, load=1.0):
    rng = np.random.default_rng(seed)
    code = rng.random(n) < 0.5
    silent = rng.random(n) < 0.1
    output = np.exp(rng.normal(4.5, 1.0, (n, 1)))
    spread = np.exp(rng.normal(0, 0.5, (n, scenarios)))
    return AnnealProblem.create(
        prompt_tokens=rng.integers(1, 800, n),
        output_tokens=np.rint(output * spread).clip(1, 1500),
        max_batch=max_batch,
        latency=LATENCY,
        waited_s=rng.exponential(1.0, n),
        ttft_s=np.where(code | silent, np.inf, 4.0 / load),
        tpot_s=np.where(code | silent, np.inf, rng.uniform(0.02, 0.05, n)),
        e2e_s=np.where(code & ~silent, 12.0 / load, np.inf),
    )


def plain_value(problem, order, batch_sizes):
    """G from its definition: every scenario, every batch, every decode step by itself."""
    met = latency_s = 0.0
    scenarios = problem.output_tokens.shape[1]
    for q in range(scenarios):
        begin_s, rest = 0.0, list(order)
        for size in batch_sizes:
            batch, rest = rest[:size], rest[size:]
            ends_s = []
            for i in batch:
                prompt, tokens = problem.prompt_tokens[i], int(problem.output_tokens[i, q])
                prefill_s = problem.latency.prefill_s(size, prompt)
                decode_s = sum(problem.latency.decode_s(size, prompt + k) for k in range(tokens))
                ends_s.append(begin_s + prefill_s + decode_s)
                ttft_s = problem.waited_s[i] + begin_s + prefill_s
                targets = (problem.ttft_s[i], problem.tpot_s[i], problem.e2e_s[i])
                measured = (ttft_s, decode_s / tokens, ttft_s + decode_s)
                met += min(targets) < np.inf and all(np.array(measured) <= targets)
                latency_s += ttft_s + decode_s
            begin_s = max(ends_s)
        assert not rest
    return met / latency_s


@pytest.fixture(scope="session")
def make():
    return random_problem


@pytest.fixture(scope="session")
def plain():
    return plain_value
