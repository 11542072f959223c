"""Attainment from light load to deep overload, with KV memory scarce and ample.

python benchmarks/memory_sweep.py [--prompts 300,3000,12000] [--memory scarce,ample]
    [--loads 0.6,1.2,3] [--ttft 2,15] [--policies ...] [--num-requests 300]
    [--seed 100] [--seeds 3] [--workers 1] --output FILE

Prompt lengths are log-normal with a heavy tail, as traces of long contexts have it; arrivals are
Poisson. Every request is a chat: its first token within ``--ttft`` seconds, then one every 100 ms.
A load of 1 is the rate at which the simulated engine is full, by mean values. Memory is *scarce*
where it holds 40 % of what runs at that rate without a limit; a number is so many KV tokens. Each
seed draws other lengths and arrivals. Figures are means; margins compare ``slotwise-oracle`` with
the best other policy of the same cell. Cells that ``FILE`` holds already are kept.
"""

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track
from scipy.optimize import brentq

from predictor.distribution import LengthDistribution
from scheduler.latency import StepWork
from scheduler.registry import PolicyName
from scheduler.simulator.profiles import EngineProfile, load_profile
from scheduler.simulator.request import SimRequest
from scheduler.slo import Slo
from scheduler.snapshot import Floats, Ints
from serving.simulate.engines import run_policy
from serving.simulate.forecast import Length, from_history

_POLICIES = "fcfs,edf,sjf-oracle,unpredicted-boost,sarathi-edf,qoserve,slidingserve,slotwise-oracle"
_OURS = "slotwise-oracle"
_TPOT_S = 0.1
_SCARCE = 0.4

# Log-normal: spread of prompts and answers, and where a sequence of the model ends.
_PROMPT_SIGMA, _ANSWER_SIGMA = 1.1, 0.7
_ANSWER_MEAN, _MOST_TOKENS = 340, 120_000


@dataclass(frozen=True, slots=True)
class Cell:
    """One point of the sweep; ``memory`` is ``scarce``, ``ample`` or a number of KV tokens."""

    prompt_mean: int
    memory: str
    ttft_s: float
    load: float


@dataclass(frozen=True, slots=True)
class MeanValues:
    """An engine in steady state: its rate, how many run, and the KV tokens they hold."""

    rps: float
    running: float
    held_tokens: float


def draw_lengths(prompt_mean: int, count: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Prompt and answer tokens, int64[count] each."""

    def draw(mean: float, sigma: float, most: int) -> Ints:
        drawn = rng.lognormal(np.log(mean) - sigma**2 / 2, sigma, count)
        return np.clip(np.rint(drawn), 1, most).astype(np.int64)

    prompts = draw(prompt_mean, _PROMPT_SIGMA, _MOST_TOKENS)
    return prompts, draw(_ANSWER_MEAN, _ANSWER_SIGMA, 4 * _ANSWER_MEAN)


def full(profile: EngineProfile, prompts: Floats, answers: Floats, kv_tokens: float) -> MeanValues:
    """The engine at its limit: slots, memory, or a step as long as the TPOT allows.

    Between two tokens of everybody who runs, a step computes one decode of each and, of prompts,
    as much as keeps their number.
    """
    latency, mean = profile.latency(), float(answers.mean())
    context = float((answers * (prompts + answers / 2)).sum() / answers.sum())
    cached = float((prompts**2).mean() / prompts.mean() / 2)

    def step_s(running: float) -> float:
        work = StepWork.alike(
            prefills=1,
            prefill_tokens=float(prompts.mean()) * running / mean,
            decodes=running,
            context_tokens=running * context,
            cached=cached,
        )
        return latency.seconds(work)

    running = min(float(profile.limits.max_num_seqs), kv_tokens / context)
    if step_s(running) > _TPOT_S:
        running = float(brentq(lambda n: step_s(n) - _TPOT_S, 1e-3, running))
    return MeanValues(running / mean / step_s(running), running, running * context)


@cache
def engine_of(name: str, prompt_mean: int, memory: str) -> tuple[EngineProfile, float]:
    """The engine with so much memory, and the rate at which it is full."""
    profile = load_profile(name)
    prompts, answers = draw_lengths(prompt_mean, 100_000, np.random.default_rng(0))
    lengths = prompts.astype(np.float64), answers.astype(np.float64)
    kv_tokens = 1 << 40
    if memory == "scarce":
        kv_tokens = int(_SCARCE * full(profile, *lengths, np.inf).held_tokens)
    elif memory != "ample":
        kv_tokens = int(memory)
    longest = int(prompts.max() + answers.max())
    limits = replace(profile.limits, kv_tokens=max(kv_tokens, longest))
    engine = replace(profile, limits=limits)
    return engine, full(engine, *lengths, float(limits.kv_tokens)).rps


def requests_of(
    cell: Cell, rate: float, *, seed: int, count: int, oracle: bool
) -> list[SimRequest]:
    """The requests of one seed; without ``oracle`` told as the class's history."""
    rng = np.random.default_rng((seed, 5))
    prompts, answers = draw_lengths(cell.prompt_mean, count, rng)
    arrival_s = np.cumsum(rng.exponential(1.0 / (rate * cell.load), count))
    lengths = [Length("chat", int(tokens)) for tokens in answers]
    told = (
        [LengthDistribution.point(length.output_tokens) for length in lengths]
        if oracle
        else from_history(lengths)
    )
    return [
        SimRequest(
            request_id=str(k),
            arrival_s=float(arrival_s[k]),
            prompt_tokens=int(prompts[k]),
            output_tokens=int(answers[k]),
            slo=Slo(ttft_s=cell.ttft_s, tpot_s=_TPOT_S),
            lengths=told[k],
            slo_class="chat",
        )
        for k in range(count)
    ]


def measure(profile: str, cell: Cell, name: str, seeds: Sequence[int], count: int) -> Any:
    """Attainment and mean latency of one policy, by seed."""
    engine, rate = engine_of(profile, cell.prompt_mean, cell.memory)
    policy = PolicyName.parse(name)
    shares, latency_s, preemptions = [], [], []
    for seed in seeds:
        requests = requests_of(cell, rate, seed=seed, count=count, oracle=policy.oracle)
        run = run_policy(policy, [engine], requests)
        shares.append(float(np.mean([bool(record.met) for record in run.records])))
        latency_s.append(float(np.mean([record.e2e_s or 0.0 for record in run.records])))
        preemptions.append(sum(step.preempted for step in run.steps))
    return {
        "slo_attainment": float(np.mean(shares)),
        "by_seed": shares,
        "mean_e2e_s": float(np.mean(latency_s)),
        "preemptions": float(np.mean(preemptions)),
    }


def margin(found: dict[str, Any]) -> dict[str, Any]:
    """How far ours is above the best rival, as a share of the requests."""
    if _OURS not in found or len(found) == 1:
        return {}
    rivals = {name: each["slo_attainment"] for name, each in found.items() if name != _OURS}
    best = max(rivals, key=lambda name: rivals[name])
    return {"best_rival": best, "margin": found[_OURS]["slo_attainment"] - rivals[best]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine-profile", default="h100-llama-3.1-8b")
    parser.add_argument("--prompts", default="300,3000,12000")
    parser.add_argument("--memory", default="scarce,ample")
    parser.add_argument("--loads", default="0.6,1.2,3")
    parser.add_argument("--ttft", default="2,15")
    parser.add_argument("--policies", default=_POLICIES)
    parser.add_argument("--num-requests", type=int, default=300)
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True)
    a = parser.parse_args()
    policies, seeds = a.policies.split(","), range(a.seed, a.seed + a.seeds)
    cells = [
        Cell(int(prompt), memory, float(ttft), float(load))
        for prompt in a.prompts.split(",")
        for memory in a.memory.split(",")
        for ttft in a.ttft.split(",")
        for load in a.loads.split(",")
    ]
    config = {
        "engine_profile": a.engine_profile,
        "policies": policies,
        "num_requests": a.num_requests,
        "seeds": list(seeds),
        "tpot_s": _TPOT_S,
    }
    rows = measured(a.output, config)
    done = {key_of(row) for row in rows}
    cells = [cell for cell in cells if key_of(asdict(cell)) not in done]
    with ProcessPoolExecutor(a.workers) as pool:
        futures = [
            [
                pool.submit(measure, a.engine_profile, cell, name, seeds, a.num_requests)
                for name in policies
            ]
            for cell in cells
        ]
        for cell, row in zip(track(cells, "cells"), futures, strict=True):
            found = dict(zip(policies, (future.result() for future in row), strict=True))
            engine, rate = engine_of(a.engine_profile, cell.prompt_mean, cell.memory)
            figures = {"kv_tokens": engine.limits.kv_tokens, "rps": rate * cell.load}
            rows.append({**asdict(cell), **figures, **margin(found), "policies": found})
            document = {"config": config, "cells": sorted(rows, key=key_of)}
            a.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def key_of(row: dict[str, Any]) -> tuple[int, str, float, float]:
    """Which cell a row is of."""
    return row["prompt_mean"], row["memory"], row["ttft_s"], row["load"]


def measured(path: Path, config: dict[str, Any]) -> list[dict[str, Any]]:
    """The cells of an earlier run with the same settings; the sweep goes on behind them."""
    if not path.exists():
        return []
    document = json.loads(path.read_text(encoding="utf-8"))
    if document["config"] != config:
        raise SystemExit(f"{path}: measured with other settings; name another --output")
    cells: list[dict[str, Any]] = document["cells"]
    return cells


if __name__ == "__main__":
    main()
