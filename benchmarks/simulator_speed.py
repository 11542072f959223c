"""How fast the simulated engine replays a trace, beside the package vidur.

OMP_NUM_THREADS=1 python benchmarks/simulator_speed.py --trace conv.csv.gz
    [--vidur-python VENV/bin/python] [--requests N] [--rate-scale 1] [--policies fcfs,slotwise]
    [--engine-profile h100-llama-3.1-8b] [--repeats 3] [--output FILE]

Every contender serves the same requests once per round, in turn, each in one thread. vidur
(0.0.26, the interpreter of an environment that holds it) runs as its own process, see
``benchmarks/vidur_replay.py``: same limits, KV blocks and linear step time. Our engine schedules
a step when the one before has ended, as vidur's does. Timed is the replay alone, from the first
arrival to the last outcome: not the reading of the trace, nor imports, nor set-up, nor
compilation (a small run beforehand sees to that). Figures are medians over the rounds; the
ratio is of iterations per second on the wall, which includes whatever else the machine does.
While memory suffices, vidur and our FCFS make the very same iterations.
"""

import argparse
import csv
import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from math import inf
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from scheduler.driver import Driver
from scheduler.registry import PolicyName, create_policy
from scheduler.simulator.cluster import serve
from scheduler.simulator.engine import SimulatedEngine
from scheduler.simulator.profiles import EngineProfile, load_profile, profile_names
from scheduler.simulator.request import SimRequest
from scheduler.simulator.state import Log
from serving.simulate.config import SimConfig
from serving.simulate.workload import SimWorkload

DRIVER = Path(__file__).with_name("vidur_replay.py")
DATE = "2023-11-16"
WARM_UP = 500


def profile_of(name: str) -> EngineProfile:
    """A profile, its engine without asynchronous scheduling."""
    profile = load_profile(name)
    return replace(profile, rules=replace(profile.rules, asynchronous=False))


def ours(name: str, profile: EngineProfile, requests: Sequence[SimRequest]) -> dict[str, Any]:
    """Replay once under a policy."""
    driver = Driver(
        policy=create_policy(PolicyName.parse(name).base, repeatable=True),
        limits=profile.limits,
        latency=profile.latency(),
        time_box_s=inf,
    )
    engine = SimulatedEngine(
        driver=driver, limits=profile.limits, step_time=profile.step_time, rules=profile.rules
    )
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    outcomes = serve([engine], requests)
    steps = engine.steps()
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    return {
        "wall_s": wall_s,
        "cpu_s": cpu_s,
        "requests": len(outcomes),
        "iterations": len(steps),
        "sequences_per_iteration": float(steps[:, [Log.PREFILLS, Log.DECODES]].sum() / len(steps)),
        "mean_ttft_s": sum(outcome.ttft_s for outcome in outcomes) / len(outcomes),
        "mean_e2e_s": sum(outcome.e2e_s for outcome in outcomes) / len(outcomes),
    }


def vidurs(python: Path, profile: EngineProfile, requests: Sequence[SimRequest]) -> dict[str, Any]:
    """Replay once with vidur, in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spec, result, trace = (folder / file for file in ("spec.json", "result.json", "trace.csv"))
        with trace.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("Date", "Time", "PromptTokenCount", "CompletionTokenCount"))
            writer.writerows(
                (DATE, request.arrival_s, request.prompt_tokens, request.output_tokens)
                for request in requests
            )
        longest = max(request.prompt_tokens + request.output_tokens for request in requests)
        content = {
            **asdict(profile.limits),
            "block_size": profile.rules.block_size,
            "linear": profile.step_time.linear.tolist(),
            "trace": str(trace),
            "date": DATE,
            "max_tokens": longest,
            "output_dir": str(folder / "vidur"),
        }
        spec.write_text(json.dumps(content), encoding="utf-8")
        command = [str(python.absolute()), str(DRIVER), str(spec), str(result)]
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)
        found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        return found


def summary(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of the times; what else a replay says, it says every time."""
    wall_s, cpu_s = ([one[key] for one in rounds] for key in ("wall_s", "cpu_s"))
    iterations = rounds[0]["iterations"]
    assert all(one["iterations"] == iterations for one in rounds)
    return {
        **rounds[0],
        "wall_s": median(wall_s),
        "cpu_s": median(cpu_s),
        "iterations_per_s": iterations / median(wall_s),
        "iterations_per_cpu_s": iterations / median(cpu_s),
        "wall_s_by_round": wall_s,
        "cpu_s_by_round": cpu_s,
    }


def print_table(found: dict[str, dict[str, Any]], console: Console) -> None:
    table = Table("replay", "iterations", "batch", "wall s", "CPU s", "iterations/s", "mean e2e s")
    base = found.get("vidur")
    for name, row in found.items():
        speed = f"{row['iterations_per_s']:,.0f}"
        if base and base is not row:
            speed += f" ({row['iterations_per_s'] / base['iterations_per_s']:.1f}x)"
        table.add_row(
            name,
            f"{row['iterations']:,}",
            f"{row['sequences_per_iteration']:.1f}",
            f"{row['wall_s']:.2f}",
            f"{row['cpu_s']:.2f}",
            speed,
            f"{row['mean_e2e_s']:.4f}",
        )
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trace", required=True)
    parser.add_argument("--vidur-python", type=Path)
    parser.add_argument("--requests", type=int, help="only the first so many")
    parser.add_argument("--rate-scale", type=float, default=1.0)
    parser.add_argument("--policies", default="fcfs,slotwise")
    parser.add_argument("--engine-profile", default="h100-llama-3.1-8b", choices=profile_names())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    config = SimConfig(
        policies=tuple(arguments.policies.split(",")),
        instances=(arguments.engine_profile,),
        traces=(arguments.trace,),
        rate_scale=arguments.rate_scale,
    )
    profile, console = profile_of(arguments.engine_profile), Console()
    workload = SimWorkload(config, console)
    told = {
        name: workload.requests(0, oracle=PolicyName.parse(name).oracle)[: arguments.requests]
        for name in config.policies
    }
    for name, requests in told.items():  # all at once, so that a queue is ordered too
        ours(name, profile, [replace(one, arrival_s=0.0) for one in requests[:WARM_UP]])
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in config.policies}
    if arguments.vidur_python:
        rounds["vidur"] = []
    for _ in track(range(arguments.repeats), description="rounds", console=console):
        for name, results in rounds.items():
            if name == "vidur":
                some = told[config.policies[0]]
                results.append(vidurs(arguments.vidur_python, profile, some))
            else:
                results.append(ours(name, profile, told[name]))
    found = {name: summary(results) for name, results in rounds.items()}
    print_table(found, console)
    if arguments.output:
        document = {
            "machine": {"cpus": os.cpu_count(), "python": platform.python_version()},
            "threads": os.environ.get("OMP_NUM_THREADS"),
            "trace": Path(arguments.trace.rpartition("=")[2]).name,
            "requests": len(told[config.policies[0]]),
            "rate_scale": arguments.rate_scale,
            "engine_profile": arguments.engine_profile,
            "limits": asdict(profile.limits),
            "rules": asdict(profile.rules),
            "repeats": arguments.repeats,
            "replays": found,
        }
        arguments.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
