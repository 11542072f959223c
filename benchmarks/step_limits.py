"""Chooses each rival's best step limit for the workloads of ``benchmarks/published.py``.

python -m benchmarks.step_limits [--policies sarathi-edf,qoserve,slidingserve]
    [--limits 128,256,384,512,1024,2048] [--seeds 100] [--num-requests 600] [--merge] --output FILE

The seeds are not those that are reported. For each workload the rates are scanned upward from a
share (--begin) of what fills the engine, or lower where that is too much. A limit drops out at the
first rate with more than 1 % violations over all seeds. The one that lasts longest is chosen, of
several the one with the fewest violations at the rate that ends the scan. For the square wave it is
the one with the fewest violations, on the first seed. ``--merge`` keeps the rest of the file.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.published import WAVE_LOW_RPS, limit_rps, wave_violations
from scheduler.registry import PolicyName
from serving.simulate.capacity import Search, violated_share
from serving.simulate.config import SimConfig
from serving.simulate.engines import engine_profiles, run_policy
from serving.simulate.published import published_names
from serving.simulate.workload import SimWorkload

_STEP = 1.2
_RESTARTS = 6


def longest(
    limits: Sequence[int], violations: Callable[[int, float], float], begin_rps: float
) -> tuple[int, dict[int, float]]:
    """The chosen limit, and the highest rate of the scan up to which each held."""
    for restart in range(_RESTARTS):
        chosen, held = _scan(limits, violations, begin_rps / 2**restart)
        if any(held.values()):
            break
    return chosen, held


def _scan(
    limits: Sequence[int], violations: Callable[[int, float], float], rps: float
) -> tuple[int, dict[int, float]]:
    held = dict.fromkeys(limits, 0.0)
    left = list(limits)
    while True:
        shares = {limit: violations(limit, rps) for limit in left}
        holding = [limit for limit in left if shares[limit] <= Search().violations]
        if not holding:
            return min(left, key=lambda limit: shares[limit]), held
        held.update(dict.fromkeys(holding, rps))
        left, rps = holding, rps * _STEP


class Runs:
    """Simulations of one workload, with the requests of all seeds."""

    def __init__(self, profile: str, workload: str, seeds: Sequence[int], count: int) -> None:
        self._config = SimConfig(
            policies=("fcfs",), instances=(profile,), workload=workload, num_requests=count
        )
        self._workload = SimWorkload(self._config, Console(quiet=True))
        self._seeds = seeds

    def violations(self, name: str, limit: int, rps: float) -> float:
        """The mean share of violations over the seeds, at this rate and step limit."""
        scale = rps / self._config.rate
        shares = [self._one(f"{name}@{limit}", seed, scale) for seed in self._seeds]
        return float(np.mean(shares))

    def _one(self, name: str, seed: int, scale: float) -> float:
        requests = self._workload.requests(seed, oracle=False, scale=scale)
        run = run_policy(PolicyName.parse(name), engine_profiles(self._config), requests)
        return violated_share(run)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine-profile", default="l40s-llama-3.1-8b")
    parser.add_argument("--policies", default="sarathi-edf,qoserve,slidingserve")
    parser.add_argument("--workloads", default=",".join(published_names()))
    parser.add_argument("--limits", default="128,256,384,512,1024,2048")
    parser.add_argument("--wave-limits", default="256,512,1024,2048")
    parser.add_argument("--seeds", default="100")
    parser.add_argument("--num-requests", type=int, default=600)
    parser.add_argument("--begin", type=float, default=0.25)
    parser.add_argument("--merge", action="store_true")
    parser.add_argument("--output", type=Path, required=True)
    a = parser.parse_args()
    limits, seeds = _numbers(a.limits), _numbers(a.seeds)
    names, workloads = a.policies.split(","), a.workloads.split(",")
    found: dict[str, Any] = {"step_limit": {}, "held_up_to_rps": {}, "square_wave_violations": {}}
    if a.merge and a.output.exists():
        found = json.loads(a.output.read_text(encoding="utf-8"))
    found |= {
        "config": {
            "engine_profile": a.engine_profile,
            "num_requests": a.num_requests,
            "seeds": seeds,
            "square_wave_seeds": seeds[:1],
        },
    }
    for workload in filter(None, workloads):
        runs = Runs(a.engine_profile, workload, seeds, a.num_requests)
        begin_rps = a.begin * limit_rps(a.engine_profile, workload)
        for name in names:
            chosen, held = longest(limits, partial(runs.violations, name), begin_rps)
            found["step_limit"].setdefault(workload, {})[name] = chosen
            found["held_up_to_rps"].setdefault(workload, {})[name] = held
            print(workload, name, chosen, {k: round(v, 2) for k, v in held.items()}, flush=True)
            a.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for name in names if a.wave_limits else ():
        shares = {
            wave_violations(a.engine_profile, f"{name}@{limit}", seeds[0], WAVE_LOW_RPS): limit
            for limit in _numbers(a.wave_limits)
        }
        chosen = shares[min(shares)]
        found["step_limit"].setdefault("square-wave", {})[name] = chosen
        violations = {limit: share for share, limit in shares.items()}
        found["square_wave_violations"][name] = violations
        print("square wave", name, chosen, violations, flush=True)
        a.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",") if number]


if __name__ == "__main__":
    main()
