"""How often the annealer finds the true optimum, and how long it takes.

python benchmarks/annealer.py [--instances 1000] [--time-box-ms 0.9] [--output FILE]

Instance k (k = 0, 1, ...) has 2 + k mod 7 requests and is drawn with seed (``--seed``, k); the
search's seed is k. Reached: G within 1e-9 of the exhaustive optimum. Times are of one whole
call of ``anneal``: on the wall, which includes whatever else the machine does, and of the
thread. The published early exit is off, except where it is said to be on: it gives an answer
that keeps every promise, which need not be the optimum of G.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from scheduler.annealing import AnnealConfig, AnnealProblem, anneal, exhaustive, warm_up
from scheduler.latency import StepLatency

LARGEST = 8
TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Instance:
    """A problem, its optimum and the search's seed."""

    problem: AnnealProblem
    optimum: float
    seed: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """One search: reached the optimum? share of it; times in ms."""

    requests: int
    reached: bool
    share: float
    wall_ms: float
    thread_ms: float
    evaluations: int


def random_problem(seed: tuple[int, int], requests: int, scenarios: int) -> AnnealProblem:
    """Half code (e2e), half chat (TTFT, TPOT), deadlines from hopeless to easy."""
    rng = np.random.default_rng(seed)
    code = rng.random(requests) < 0.5
    ease = rng.uniform(0.3, 3.0)
    median = np.exp(rng.normal(4.6, 1.0, (requests, 1)))
    spread = np.exp(rng.normal(0.0, 0.5, (requests, scenarios))) if scenarios > 1 else 1.0
    return AnnealProblem.create(
        prompt_tokens=rng.integers(10, 1500, requests),
        output_tokens=np.rint(median * spread).clip(1, 2000),
        max_batch=int(rng.integers(1, requests + 1)),
        latency=StepLatency.linear(
            step_s=0.03,
            prompt_token_s=rng.uniform(1e-6, 2e-5),
            context_token_s=rng.uniform(2e-7, 4e-6),
            decode_s=rng.uniform(6e-4, 9e-3),
        ),
        waited_s=rng.exponential(2.0, requests),
        ttft_s=np.where(code, inf, 5.0 * ease),
        tpot_s=np.where(code, inf, 0.1),
        e2e_s=np.where(code, 15.0 * ease, inf),
    )


def instances(count: int, seed: int, scenarios: int) -> Iterator[Instance]:
    for k in range(count):
        problem = random_problem((seed, k), 2 + k % (LARGEST - 1), scenarios)
        yield Instance(problem, exhaustive(problem).value, k)


def search(instance: Instance, config: AnnealConfig) -> Outcome:
    thread_ns = time.thread_time_ns()
    result = anneal(instance.problem, replace(config, seed=instance.seed))
    thread_ns = time.thread_time_ns() - thread_ns
    share = result.value / instance.optimum if instance.optimum else 1.0
    return Outcome(
        requests=len(instance.problem),
        reached=share >= 1 - TOLERANCE,
        share=share,
        wall_ms=result.elapsed_s * 1e3,
        thread_ms=thread_ns * 1e-6,
        evaluations=result.evaluations,
    )


def summary(outcomes: list[Outcome]) -> dict[str, Any]:
    wall_ms = np.array([outcome.wall_ms for outcome in outcomes])
    thread_ms = np.array([outcome.thread_ms for outcome in outcomes])
    evaluations = np.array([outcome.evaluations for outcome in outcomes])
    return {
        "instances": len(outcomes),
        "optimal_share": float(np.mean([outcome.reached for outcome in outcomes])),
        "mean_share_of_optimum": float(np.mean([outcome.share for outcome in outcomes])),
        "wall_ms_p50": float(np.percentile(wall_ms, 50)),
        "wall_ms_p99": float(np.percentile(wall_ms, 99)),
        "thread_ms_p50": float(np.percentile(thread_ms, 50)),
        "thread_ms_p99": float(np.percentile(thread_ms, 99)),
        "evaluations_p50": float(np.percentile(evaluations, 50)),
        "evaluations_per_s": float(evaluations.sum() / (thread_ms.sum() * 1e-3)),
    }


def report(outcomes: list[Outcome], config: AnnealConfig) -> dict[str, Any]:
    sizes = sorted({outcome.requests for outcome in outcomes})
    of_size = {n: [outcome for outcome in outcomes if outcome.requests == n] for n in sizes}
    return {
        "config": {name: None if value == inf else value for name, value in asdict(config).items()},
        "all": summary(outcomes),
        "by_requests": {str(n): summary(of_size[n]) for n in sizes},
    }


def configs(time_box_s: float) -> dict[str, AnnealConfig]:
    ours = AnnealConfig(time_box_s=time_box_s)
    paper = replace(AnnealConfig.paper(), early_exit=False)
    return {
        "default": ours,
        "default, early exit": replace(ours, early_exit=True),
        "published schedule, normalised": paper,
        "published schedule, raw": replace(paper, normalise=False),
    }


def show(document: dict[str, Any]) -> None:
    table = Table(title=f"annealer against exhaustive search, N = 2..{LARGEST}")
    for column in (
        "lengths",
        "search",
        "N",
        "optimal",
        "wall ms p50/p99",
        "thread ms p50/p99",
        "M evals/s",
    ):
        table.add_column(column, justify="left" if column in ("lengths", "search") else "right")
    for lengths, by_config in document["results"].items():
        for name, result in by_config.items():
            rows = {"all": result["all"]}
            rows |= result["by_requests"] if name == "default" else {}
            for n, row in rows.items():
                table.add_row(
                    lengths,
                    name,
                    n,
                    f"{row['optimal_share']:.1%}",
                    f"{row['wall_ms_p50']:.2f} / {row['wall_ms_p99']:.2f}",
                    f"{row['thread_ms_p50']:.2f} / {row['thread_ms_p99']:.2f}",
                    f"{row['evaluations_per_s'] / 1e6:.1f}",
                )
            table.add_section()
    Console(width=120).print(table)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    warm_up()
    exhaustive(random_problem((0, 0), 2, 1))
    results: dict[str, dict[str, Any]] = {}
    for lengths, scenarios in (("point", 1), (f"{arguments.atoms} atoms", arguments.atoms)):
        cases = list(instances(arguments.instances, arguments.seed, scenarios))
        results[lengths] = {
            name: report([search(case, config) for case in cases], config)
            for name, config in configs(arguments.time_box_ms * 1e-3).items()
        }
    return {
        "instances": arguments.instances,
        "seed": arguments.seed,
        "machine": {"cpus": os.cpu_count(), "processor": platform.machine()},
        "results": results,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Annealer against exhaustive search")
    parser.add_argument("--instances", type=int, default=1000)
    parser.add_argument("--atoms", type=int, default=8, help="scenarios of the uncertain lengths")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--time-box-ms", type=float, default=0.9)
    parser.add_argument("--output", type=Path, default=Path("build/benchmarks/annealer.json"))
    arguments = parser.parse_args()
    document = measure(arguments)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    show(document)


if __name__ == "__main__":
    main()
