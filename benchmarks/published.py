"""SlidingServe's own experiments (arXiv 2606.05933, section 5), on a simulated engine.

python benchmarks/published.py [--engine-profile l40s-llama-3.1-8b] [--policies ...]
    [--workloads sharegpt,arxiv-v1,arxiv-v2,mixed-v1,mixed-v2] [--num-requests 1000] [--seeds 5]
    --output FILE

*Capacity*: the highest Poisson rate with at most 1 % of the requests violated, each seed another
draw of lengths and arrivals. *Square wave*: mixed-v1 for 20 minutes, the rate alternating every
2 minutes between a low one and 2.5 times that, set so that ``sarathi-edf`` violates 58 %.
Policies are told what each class showed before. Figures are means with 95 % intervals; ratios
are paired by seed. *Limit*: by mean values, the rate at which steps that give each
answer its token and prompts their share take as long as the tightest TPOT.
"""

import argparse
import json
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from scipy.optimize import brentq

from scheduler.latency import StepWork
from scheduler.registry import PolicyName
from scheduler.simulator.profiles import load_profile
from scheduler.simulator.request import SimRequest
from scheduler.snapshot import Floats
from serving.report.seeds import interval
from serving.simulate.capacity import Search, capacity_rps, figures_of
from serving.simulate.config import SimConfig
from serving.simulate.engines import run_policy
from serving.simulate.forecast import Length, from_history
from serving.simulate.published import kinds, published_names, published_rows
from serving.simulate.workload import SimWorkload

_POLICIES = "sarathi-edf,qoserve,slidingserve,slotwise"
_WAVE, _WAVE_S, _HALF_S, _SWING = "mixed-v1", 1200.0, 120.0, 2.5
_WAVE_VIOLATIONS = 0.58


def capacity(profile: str, workload: str, name: str, seed: int, count: int) -> float:
    config = SimConfig(
        policies=(name,), instances=(profile,), workload=workload, num_requests=count
    )
    return capacity_rps(
        config, SimWorkload(config, Console(quiet=True)), Search(), name=name, seed=seed
    )


def limit_rps(profile: str, workload: str) -> float:
    """Where the engine is full, by mean values: who carries more gives somebody up."""
    engine = load_profile(profile)
    rows = published_rows(workload, arrivals_s=np.arange(20_000, dtype=np.float64), seed=0)
    prompts = np.array([row.prompt_tokens for row in rows], dtype=np.float64)
    answers = np.array([row.output_tokens for row in rows], dtype=np.float64)
    tpot_s = min(kind.tpot_s for kind in kinds(workload).values())
    context = float((answers * (prompts + answers / 2)).mean() / answers.mean())
    cached = float((prompts**2).mean() / prompts.mean() / 2)

    def excess_s(rps: float) -> float:
        decodes, tokens = rps * tpot_s * answers.mean(), rps * tpot_s * prompts.mean()
        work = StepWork.alike(
            prefills=1,
            prefill_tokens=tokens,
            decodes=decodes,
            context_tokens=decodes * context,
            cached=cached,
        )
        return engine.latency().seconds(work) - tpot_s

    return float(brentq(excess_s, 1e-3, 1e3))


def square_wave(low_rps: float, seed: int) -> Floats:
    """Arrival times, float64[n]: ``low_rps`` for a half wave, then the high rate, in turn."""
    rng = np.random.default_rng((seed, 4))
    halves = int(_WAVE_S / _HALF_S)
    times = []
    for half in range(halves):
        rate = low_rps * (_SWING if half % 2 else 1.0)
        times.append(half * _HALF_S + np.sort(rng.random(rng.poisson(rate * _HALF_S))) * _HALF_S)
    return np.concatenate(times)


def wave_requests(profile: str, low_rps: float, seed: int) -> list[SimRequest]:
    engine, promised = load_profile(profile), kinds(_WAVE)
    rows = published_rows(_WAVE, arrivals_s=square_wave(low_rps, seed), seed=seed)
    told = from_history([Length(row.slo_class, row.output_tokens) for row in rows])
    return [
        SimRequest(
            row.request_id,
            row.arrival_s,
            row.prompt_tokens,
            row.output_tokens,
            promised[row.slo_class].slo(engine.alone_s(row.prompt_tokens)),
            lengths,
            slo_class=row.slo_class,
        )
        for row, lengths in zip(rows, told, strict=True)
    ]


def wave_violations(profile: str, name: str, low_rps: float, seed: int) -> float:
    requests = wave_requests(profile, low_rps, seed)
    run = run_policy(PolicyName.parse(name), [load_profile(profile)], requests)
    return float(np.mean([not record.met for record in run.records]))


def wave_rate(profile: str) -> float:
    """The low rate at which ``sarathi-edf`` violates as much as was published."""

    def excess(low_rps: float) -> float:
        return wave_violations(profile, "sarathi-edf", low_rps, 0) - _WAVE_VIOLATIONS

    return float(brentq(excess, 0.2, 20.0, rtol=0.02))


def beside(values: dict[str, list[float]], rival: str) -> dict[str, Any]:
    """Each policy's capacity over the rival's, seed by seed."""
    found = {}
    for name, rates in values.items():
        ratios = (np.array(rates) / np.array(values[rival])).tolist()
        found[name] = {"mean": float(np.mean(ratios)), "interval_95": interval(ratios)}
    return found


def pooled(function: Any, points: Sequence[tuple[Any, ...]], workers: int, label: str) -> list[Any]:
    with ProcessPoolExecutor(workers) as pool:
        futures = [pool.submit(function, *point) for point in points]
        for future in track(as_completed(futures), label, total=len(points)):
            future.result()
    return [future.result() for future in futures]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine-profile", default="l40s-llama-3.1-8b")
    parser.add_argument("--policies", default=_POLICIES)
    parser.add_argument("--workloads", default=",".join(published_names()))
    parser.add_argument("--num-requests", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--rival", default="qoserve")
    parser.add_argument("--no-wave", action="store_true")
    parser.add_argument("--output", type=Path, required=True)
    a = parser.parse_args()
    names, workloads = a.policies.split(","), a.workloads.split(",")
    seeds = range(a.seeds)
    points = [
        (a.engine_profile, w, name, seed, a.num_requests)
        for w in workloads
        for name in names
        for seed in seeds
    ]
    rates = iter(pooled(capacity, points, a.workers, "capacities"))
    capacities = {w: {name: [next(rates) for _ in seeds] for name in names} for w in workloads}
    document: dict[str, Any] = {
        "config": {
            "engine_profile": a.engine_profile,
            "num_requests": a.num_requests,
            "seeds": a.seeds,
            "violations": Search().violations,
        },
        "capacity": {
            w: {name: figures_of(found) for name, found in by_name.items()}
            for w, by_name in capacities.items()
        },
        "limit_rps": {w: limit_rps(a.engine_profile, w) for w in workloads},
        f"over_{a.rival}": {w: beside(by_name, a.rival) for w, by_name in capacities.items()},
    }
    if not a.no_wave:
        low_rps = wave_rate(a.engine_profile)
        waves = [(a.engine_profile, name, low_rps, seed) for name in names for seed in seeds]
        shares = iter(pooled(wave_violations, waves, a.workers, "square wave"))
        by_name = {name: [next(shares) for _ in seeds] for name in names}
        document["square_wave"] = {
            "low_rps": low_rps,
            "high_rps": _SWING * low_rps,
            "violations": {
                name: {"mean": float(np.mean(v)), "interval_95": interval(v), "by_seed": v}
                for name, v in by_name.items()
            },
        }
    a.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
