"""SlidingServe's own experiments (arXiv 2606.05933, section 5), on a simulated engine.

python -m benchmarks.published [--engine-profile l40s-llama-3.1-8b] [--policies ...]
    [--workloads sharegpt,arxiv-v1,arxiv-v2,mixed-v1,mixed-v2] [--num-requests 1000] [--seeds 5]
    [--step-limits benchmarks/results/step-limits.json] [--merge] --output FILE

*Capacity*: the highest Poisson rate up to which at most 1 % of the requests are violated, each seed
another draw of lengths and arrivals. The rates are scanned upward from a sixth of the limit, or
from a lower one where more are violated there. *Square wave*: mixed-v1 for 20 minutes, the rate
alternating every 2 minutes between a low one and 2.5 times that. Rivals have the step limits that
``benchmarks/step_limits.py`` chose on other seeds. Policies are told what each class showed before.
Figures are means with 95 % intervals, and the values of each seed. *Limit*: by mean values, the
rate at which steps that give each answer its token and prompts their share take as long as the
tightest TPOT. ``--merge`` keeps the figures of other policies in the file.
"""

import argparse
import json
import os
import subprocess
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from scipy.optimize import brentq

from scheduler.latency import StepWork
from scheduler.parts import base_of
from scheduler.registry import PolicyName
from scheduler.simulator.profiles import load_profile
from scheduler.simulator.request import SimRequest
from scheduler.snapshot import Floats
from serving.report.seeds import interval
from serving.simulate.capacity import Search, capacity_rps, figures_of, violated_share
from serving.simulate.config import SimConfig
from serving.simulate.engines import run_policy
from serving.simulate.forecast import Length, from_history
from serving.simulate.published import kinds, published_names, published_rows
from serving.simulate.workload import SimWorkload

_STEP_LIMITS = Path(__file__).parent / "results" / "step-limits.json"
_POLICIES = "sarathi-edf,qoserve,slidingserve,slotwise"
_WAVE, _WAVE_S, _HALF_S, _SWING = "mixed-v1", 1200.0, 120.0, 2.5
# About what the rivals were published with: half of the requests violated.
WAVE_LOW_RPS = 1.92


# The scan of rates begins at the first of these shares of the limit where the bound holds.
_BEGIN = (1 / 6, 1 / 24, 1 / 96)
# It goes up by this factor, and ends so finely.
_STEP, _TOLERANCE = 1.3, 0.07


def capacity(profile: str, name: str, seed: int, workload: str, count: int) -> float:
    config = SimConfig(
        policies=(name,), instances=(profile,), workload=workload, num_requests=count
    )
    requests = SimWorkload(config, Console(quiet=True))
    for share in _BEGIN:
        lowest = share * limit_rps(profile, workload) / config.rate
        search = Search(tolerance=_TOLERANCE, lowest=lowest, step=_STEP)
        found = capacity_rps(config, requests, search, name=name, seed=seed)
        if found:
            return found
    return 0.0


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


def wave_violations(profile: str, name: str, seed: int, low_rps: float) -> float:
    requests = wave_requests(profile, low_rps, seed)
    return violated_share(run_policy(PolicyName.parse(name), [load_profile(profile)], requests))


def violations_of(shares: list[float]) -> dict[str, Any]:
    return {"mean": float(np.mean(shares)), "interval_95": interval(shares), "by_seed": shares}


def pooled(function: Any, points: Sequence[tuple[Any, ...]], workers: int, label: str) -> list[Any]:
    if workers == 1:
        return [function(*point) for point in track(points, label)]
    with ProcessPoolExecutor(workers) as pool:
        futures = [pool.submit(function, *point) for point in points]
        for future in track(as_completed(futures), label, total=len(points)):
            future.result()
    return [future.result() for future in futures]


class Experiments:
    """Runs what was asked for and keeps the file up to date; one file may be filled in parts."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._asked = arguments
        self._names: list[str] = arguments.policies.split(",")
        limits = json.loads(arguments.step_limits.read_text(encoding="utf-8"))["step_limit"]
        self._limits: dict[str, dict[str, int]] = limits
        self._seeds = range(arguments.seeds)
        kept = arguments.merge and arguments.output.exists()
        self._document: dict[str, Any] = (
            json.loads(arguments.output.read_text(encoding="utf-8")) if kept else {"config": {}}
        )
        self._document["config"] |= {
            "engine_profile": arguments.engine_profile,
            "num_requests": arguments.num_requests,
            "seeds": arguments.seeds,
            "violations": Search().violations,
            "tolerance": _TOLERANCE,
            "scan_begins_at_shares_of_limit": list(_BEGIN),
            "scan_step": _STEP,
        }
        self._commit = _commit()

    def limited(self, name: str, workload: str) -> str:
        """The policy with the step limit chosen for this workload, if one was."""
        limit = self._limits.get(workload, {}).get(base_of(name))
        return name if limit is None or "@" in name else f"{name}@{limit}"

    def capacities(self, workload: str) -> None:
        """Measure one workload, one policy after the other."""
        full_rps = limit_rps(self._asked.engine_profile, workload)
        self._document.setdefault("limit_rps", {})[workload] = full_rps
        of_workload = self._document.setdefault("capacity", {}).setdefault(workload, {})
        for name in self._names:
            policy = self.limited(name, workload)
            rates = self._by_seed(capacity, policy, workload, self._asked.num_requests)
            of_workload[name] = {"policy": policy, "commit": self._commit, **figures_of(rates)}
            self._write()

    def square_wave(self) -> None:
        """Measure the share of violations under the square wave."""
        wave = self._document.setdefault("square_wave", {})
        wave |= {"low_rps": WAVE_LOW_RPS, "high_rps": _SWING * WAVE_LOW_RPS}
        for name in self._names:
            policy = self.limited(name, "square-wave")
            shares = self._by_seed(wave_violations, policy, WAVE_LOW_RPS)
            figures = {"policy": policy, "commit": self._commit, **violations_of(shares)}
            wave.setdefault("violations", {})[name] = figures
            self._write()

    def _by_seed(self, measured: Any, policy: str, *rest: Any) -> list[float]:
        profile = self._asked.engine_profile
        points = [(profile, policy, seed, *rest) for seed in self._seeds]
        label = " ".join(map(str, (policy, *rest[:1])))
        found: list[float] = pooled(measured, points, self._asked.workers, label)
        return found

    def _write(self) -> None:
        text = json.dumps(self._document, indent=1) + "\n"
        self._asked.output.write_text(text, encoding="utf-8")


def _commit() -> str:
    """The commit that is measured."""
    asked = ("git", "rev-parse", "--short", "HEAD")
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine-profile", default="l40s-llama-3.1-8b")
    parser.add_argument("--policies", default=_POLICIES)
    parser.add_argument("--workloads", default=",".join(published_names()))
    parser.add_argument("--num-requests", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--step-limits", type=Path, default=_STEP_LIMITS)
    parser.add_argument("--no-wave", action="store_true")
    parser.add_argument("--merge", action="store_true")
    parser.add_argument("--output", type=Path, required=True)
    asked = parser.parse_args()
    experiments = Experiments(asked)
    for workload in filter(None, asked.workloads.split(",")):
        experiments.capacities(workload)
    if not asked.no_wave:
        experiments.square_wave()


if __name__ == "__main__":
    main()
