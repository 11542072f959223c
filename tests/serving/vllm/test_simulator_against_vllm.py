"""The simulated loop allots what vLLM's own scheduler allots, step by step, memory short or not."""

import random
from collections import deque
from math import inf

import numpy as np
import pytest

from predictor.distribution import LengthDistribution
from scheduler.decision import StepDecision
from scheduler.driver import Driver
from scheduler.latency import StepLatency
from scheduler.registry import create_policy
from scheduler.simulator.engine import EngineRules, SimulatedEngine
from scheduler.simulator.request import SimRequest
from scheduler.simulator.state import Log
from scheduler.simulator.step_time import StepTime
from scheduler.slo import Slo
from scheduler.snapshot import Limits

pytest.importorskip("vllm", reason="vLLM is not installed (extra: cpu or gpu)")
pytestmark = pytest.mark.engine

BLOCK, SLOTS, BUDGET = 16, 6, 96
# Every step takes one second, so that step k begins at k.
UNIT = StepLatency.linear(step_s=1.0)


class Turning:
    """Turns the running and the waiting round, makes prompts sit out, and squeezes the step."""

    name = "turning"

    def __init__(self):
        self.steps = 0

    def plan(self, snapshot, previous):
        return None

    def step(self, snapshot, plan):
        self.steps += 1
        running, waiting = snapshot.running, snapshot.waiting
        computed = running.prefill_left <= 1
        sits = ~computed & (self.steps % 3 == 0) & computed.any()
        order = np.argsort(waiting.arrival_s)
        return StepDecision(
            order=waiting.handle[order[:: 1 if self.steps % 2 else -1]],
            running=running.handle[np.roll(np.argsort(running.arrival_s), self.steps)],
            held=running.handle[sits],
            token_budget=(None, 40, 9)[self.steps % 3],
            stands=False,
        )


def turned_scheduler(monkeypatch, model_folder, *, blocks):
    """Ours, with a policy that uses every seam."""
    from serving.vllm_scheduler import SlotwiseScheduler

    monkeypatch.setenv("SLOTWISE_POLICY", "fcfs")
    monkeypatch.setenv("SLOTWISE_TIME_BOX_MS", "10000")
    scheduler = vllm_scheduler(
        model_folder, blocks=blocks, caching=False, asynchronous=True, ours=SlotwiseScheduler
    )
    scheduler.driver._refit.latest = UNIT
    scheduler.driver.policy = Turning()
    return scheduler


def vllm_scheduler(model_folder, *, blocks, caching, asynchronous, ours=None):
    import torch
    from vllm.engine.arg_utils import EngineArgs
    from vllm.v1.core.sched.async_scheduler import AsyncScheduler
    from vllm.v1.core.sched.scheduler import Scheduler
    from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
    from vllm.v1.structured_output import StructuredOutputManager

    config = EngineArgs(
        model=str(model_folder),
        max_num_seqs=SLOTS,
        max_model_len=512,
        max_num_batched_tokens=BUDGET,
        enable_prefix_caching=caching,
        enforce_eager=True,
        async_scheduling=asynchronous,
    ).create_engine_config()
    config.cache_config.num_gpu_blocks = blocks
    spec = FullAttentionSpec(block_size=BLOCK, num_kv_heads=1, head_size=16, dtype=torch.bfloat16)
    return (ours or (AsyncScheduler if asynchronous else Scheduler))(
        vllm_config=config,
        kv_cache_config=KVCacheConfig(
            num_blocks=blocks,
            kv_cache_tensors=[],
            kv_cache_groups=[KVCacheGroupSpec(["layer"], spec)],
        ),
        structured_output_manager=StructuredOutputManager(config),
        block_size=BLOCK,
    )


def vllm_request(request, *, caching):
    from vllm.sampling_params import SamplingParams
    from vllm.utils.hashing import sha256
    from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
    from vllm.v1.request import Request

    init_none_hash(sha256)
    number = int(request.request_id)
    tokens = [(number * 7919 + k) % 30_000 for k in range(request.prompt_tokens)]
    params = SamplingParams(max_tokens=request.output_tokens, ignore_eos=True)
    hasher = get_request_block_hasher(BLOCK, sha256) if caching else None
    return Request(request.request_id, tokens, params, None, block_hasher=hasher)


def vllm_steps(scheduler, requests, *, caching, asynchronous):
    """[prefills, prefill tokens, decodes, context tokens] of each step."""
    from vllm.v1.outputs import ModelRunnerOutput

    waiting = deque(sorted(requests, key=lambda request: request.arrival_s))
    in_flight, rows, step = deque(), [], 0

    def finish_one():
        output, names, done = in_flight.popleft()
        sampled = [[int(n) * 31 % 30_000 + 5] if done[n] else [] for n in names]
        index = {name: i for i, name in enumerate(names)}
        scheduler.update_from_output(
            output,
            ModelRunnerOutput(req_ids=names, req_id_to_index=index, sampled_token_ids=sampled),
        )

    while waiting or scheduler.requests or in_flight:
        # An asynchronous step is scheduled when the one before begins.
        seen_s = step - 1 if asynchronous and in_flight else step
        while waiting and waiting[0].arrival_s <= seen_s:
            scheduler.add_request(vllm_request(waiting.popleft(), caching=caching))
        output = scheduler.schedule()
        row = [0, 0, 0, 0]
        for name, tokens in output.num_scheduled_tokens.items():
            cached = scheduler.requests[name].num_computed_tokens - tokens
            if tokens > 1:
                row[0], row[1] = row[0] + 1, row[1] + tokens
            else:
                row[2], row[3] = row[2] + 1, row[3] + cached
        names = list(output.num_scheduled_tokens)
        if names:
            rows.append(row)
            done = {n: not scheduler.requests[n].is_prefill_chunk for n in names}
            in_flight.append((output, names, done))
        while len(in_flight) > (1 if asynchronous and names else 0):
            finish_one()
        step += 1
        assert step < 20_000
    return rows


def simulated_steps(requests, *, blocks, caching, asynchronous, policy=None):
    limits = Limits(SLOTS, BUDGET, (blocks - 1) * BLOCK)
    policy = policy or create_policy("fcfs")
    driver = Driver(policy=policy, limits=limits, latency=UNIT, time_box_s=inf)
    engine = SimulatedEngine(
        driver=driver,
        limits=limits,
        step_time=StepTime.of_latency(UNIT),
        rules=EngineRules(block_size=BLOCK, asynchronous=asynchronous, prefix_caching=caching),
    )
    for request in requests:
        engine.run_until(request.arrival_s)
        engine.submit(request)
    engine.run_until(inf)
    assert len(engine.outcomes()) == len(requests)
    columns = [Log.PREFILLS, Log.PREFILL_TOKENS, Log.DECODES, Log.CONTEXT_TOKENS]
    return engine.steps()[:, columns].astype(int).tolist(), engine.outcomes()


def crafted(seed, count=40):
    """All there from the start or coming every few steps, never a moment without work."""
    rng = random.Random(seed)
    at = 0
    requests = []
    for number in range(count):
        tokens = rng.randint(1, 60)
        requests.append(
            SimRequest(
                request_id=str(number),
                arrival_s=at + number * 1e-4,
                prompt_tokens=rng.randint(2, 150),
                output_tokens=tokens,
                slo=Slo(),
                lengths=LengthDistribution.point(tokens),
            )
        )
        at += rng.choice([0, 0, 1, 2])
    return requests


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("caching", [False, True])
@pytest.mark.parametrize(("blocks", "seed"), [(400, 0), (30, 1), (24, 2)])
def test_the_loop_allots_what_vllm_allots(model_folder, blocks, seed, caching, asynchronous):
    requests = crafted(seed)
    scheduler = vllm_scheduler(
        model_folder, blocks=blocks, caching=caching, asynchronous=asynchronous
    )
    real = vllm_steps(scheduler, requests, caching=caching, asynchronous=asynchronous)
    ours, outcomes = simulated_steps(
        requests, blocks=blocks, caching=caching, asynchronous=asynchronous
    )
    assert np.array(ours).tolist() == real
    assert (sum(outcome.preemptions for outcome in outcomes) > 0) == (blocks < 100)


@pytest.mark.parametrize(("blocks", "seed"), [(400, 0), (400, 3), (30, 1), (24, 2)])
def test_the_loop_follows_a_policy_as_vllm_does(monkeypatch, model_folder, blocks, seed):
    requests = crafted(seed)
    scheduler = turned_scheduler(monkeypatch, model_folder, blocks=blocks)
    real = vllm_steps(scheduler, requests, caching=False, asynchronous=False)
    ours, outcomes = simulated_steps(
        requests, blocks=blocks, caching=False, asynchronous=False, policy=Turning()
    )
    assert np.array(ours).tolist() == real
    assert (sum(outcome.preemptions for outcome in outcomes) > 0) == (blocks < 100)
    assert scheduler.fallbacks == 0
