"""How much of what 50 ms of annealing gains a plan within its time box has.

python benchmarks/planning.py [--instances 100] [--seed 1000] [--output FILE]

An instance is an engine with all slots taken and so many waiting, half code (e2e target), half
chat (TTFT and TPOT), log-normal length forecasts, deadlines from hopeless to easy; drawn with
seed ``--seed`` + k. Gain is counted over the best of all seed orders, share of gain as the
ratio of the sums. *Cold* plans have none before them. *Warm* ones follow plans in the same time
box, one at each of eight steps, in each of which somebody came and somebody ended; the 50 ms start
from the same plan, and the gain is counted over the seed orders of a cold one. Times are of the
whole call of
``SlotwisePolicy.plan``, on the wall (which includes whatever else the machine does) and of the
thread.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import norm

from predictor.distribution import LengthDistribution, log_edges
from scheduler.latency import StepLatency
from scheduler.policies.slotwise import SlotwisePolicy
from scheduler.slo import Slo
from scheduler.slots.config import SlotConfig
from scheduler.snapshot import Limits, Snapshot
from scheduler.tracker import Arrival, Tracker

if TYPE_CHECKING:
    from scheduler.decision import Plan

EDGES = log_edges(2048, 48)
REFERENCE_S = 0.050
_WARM_STEPS = 8


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of engine and how many wait for it."""

    name: str
    waiting: int
    slots: int
    latency: StepLatency


# Step times of the order of a small model on two CPU cores, and of an 8B model on a data-centre
# GPU.
CPU = StepLatency.linear(
    step_s=0.037, decode_s=6.5e-4, context_token_s=3e-8, prefill_step_s=0.045, prompt_token_s=7e-4
)
GPU = StepLatency.linear(
    step_s=0.0064,
    decode_s=1.1e-5,
    context_token_s=4e-8,
    prefill_step_s=0.006,
    prompt_token_s=1.5e-5,
)
FAMILIES = (
    Family("cpu, 256 waiting, 16 slots", 256, 16, CPU),
    Family("gpu, 256 waiting, 64 slots", 256, 64, GPU),
    Family("gpu, 256 waiting, 256 slots", 256, 256, GPU),
    Family("gpu, 4096 waiting, 64 slots", 4096, 64, GPU),
    Family("gpu, 4096 waiting, 256 slots", 4096, 256, GPU),
)


def forecast(rng: np.random.Generator) -> LengthDistribution:
    """Log-normal, sigma 1 about a median of its own (sigma 1 about 180 tokens)."""
    median = np.exp(rng.normal(5.2, 1.0))
    cdf = norm.cdf(np.log(np.maximum(EDGES, 1e-3) / median))
    cdf[0], cdf[-1] = 0.0, 1.0
    return LengthDistribution.from_cdf(EDGES, cdf)


def engine(family: Family, seed: int) -> Tracker:
    """One engine in the middle of its work, at 100 s."""
    rng = np.random.default_rng(seed)
    tracker = Tracker(limits=Limits(family.slots, 8192, 10**7))
    token_s = float(family.latency.decode_s(family.slots, 500.0))
    service_s = 250 * token_s
    backlog_s = min(family.waiting / family.slots, 20.0) * service_s
    for number in range(family.slots + family.waiting):
        arrival_s = 100.0 - rng.random() * backlog_s
        name, prompt = str(number), int(rng.integers(20, 800))
        slo = promise(rng, family)
        tracker.arrived(Arrival(name, arrival_s, prompt, 2048, slo, forecast(rng)))
        if number < family.slots:
            tracker.scheduled({name: prompt})
            tracker.tokens({name: int(rng.integers(1, 200))}, arrival_s + 0.1)
    return tracker


def promise(rng: np.random.Generator, family: Family) -> Slo:
    """Half code, half chat, from hopeless to easy."""
    token_s = float(family.latency.decode_s(family.slots, 500.0))
    if rng.random() < 0.5:
        return Slo(e2e_s=250 * token_s * rng.uniform(1.5, 4.0))
    return Slo(ttft_s=250 * token_s * rng.uniform(0.2, 1.0), tpot_s=2 * token_s)


def steps_on(tracker: Tracker, family: Family, seed: int) -> Iterator[Snapshot]:
    """In each step everybody has one token more, one of them its last, and somebody comes."""
    rng = np.random.default_rng((seed, 1))
    running = [str(number) for number in range(family.slots)]
    step_s = float(family.latency.decode_s(family.slots, 500.0))
    for step in range(_WARM_STEPS):
        now_s = 100.0 + step_s * (step + 1)
        tracker.tokens(dict.fromkeys(running, 1), now_s)
        tracker.finished(running.pop(rng.integers(len(running))))
        slo, prompt = promise(rng, family), int(rng.integers(20, 800))
        tracker.arrived(Arrival(f"new{step}", now_s, prompt, 2048, slo, forecast(rng)))
        yield tracker.snapshot(now_s=now_s, latency=family.latency)


def study(family: Family, count: int, seed: int, *, warm: bool) -> dict[str, Any]:
    """Gains and times over ``count`` instances."""
    reference = SlotConfig(time_box_s=REFERENCE_S, time_box_each_s=0.0, max_moves=10**9)
    boxed = replace(SlotConfig(), max_moves=10**9)
    gains, wall_ms, thread_ms, moves = [], [], [], []
    for k in track(range(count), description=f"{family.name}, {'warm' if warm else 'cold'}"):
        tracker = engine(family, seed + k)
        snapshot = tracker.snapshot(now_s=100.0, latency=family.latency)
        previous: Plan | None = None
        if warm:
            for later in steps_on(tracker, family, seed + k):
                # Always a new one: who has seen arrivals prices them, and values differ.
                previous = SlotwisePolicy(replace(boxed, seed=k)).plan(snapshot, previous)
                snapshot = later
        base = SlotwisePolicy(boxed).plan(snapshot, None).seed_value
        policy = SlotwisePolicy(replace(boxed, seed=k))
        wall_ns, thread_ns = time.perf_counter_ns(), time.thread_time_ns()
        plan = policy.plan(snapshot, previous)
        thread_ms.append((time.thread_time_ns() - thread_ns) * 1e-6)
        wall_ms.append((time.perf_counter_ns() - wall_ns) * 1e-6)
        longest = SlotwisePolicy(replace(reference, seed=k)).plan(snapshot, previous)
        gains.append((plan.value - base, longest.value - base))
        moves.append((plan.evaluations, longest.evaluations))
    gain, most = np.array(gains).T
    return {
        "share_of_gain": float(gain.sum() / most.sum()),
        "share_interval_95": bootstrap(gain, most),
        "gain": float(gain.mean()),
        "gain_50_ms": float(most.mean()),
        "evaluations_p50": float(np.median(moves, axis=0)[0]),
        "evaluations_50_ms_p50": float(np.median(moves, axis=0)[1]),
        **{f"wall_ms_p{q}": float(np.percentile(wall_ms, q)) for q in (50, 99)},
        **{f"thread_ms_p{q}": float(np.percentile(thread_ms, q)) for q in (50, 99)},
    }


def bootstrap(gain: Any, most: Any) -> list[float]:
    """95 % interval of the ratio of the sums."""
    rng = np.random.default_rng(0)
    picks = rng.integers(0, len(gain), (2000, len(gain)))
    ratios = gain[picks].sum(axis=1) / most[picks].sum(axis=1)
    return [float(np.percentile(ratios, q)) for q in (2.5, 97.5)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instances", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    found = {
        f"{family.name}, {'warm' if warm else 'cold'}": study(
            family, arguments.instances, arguments.seed, warm=warm
        )
        for warm in (False, True)
        for family in FAMILIES
    }
    table = Table("instances", "gain", "of 50 ms", "moves", "wall p50/p99 ms", "thread p99 ms")
    for name, row in found.items():
        low, high = row["share_interval_95"]
        table.add_row(
            name,
            f"{row['gain']:.2f} of {row['gain_50_ms']:.2f}",
            f"{row['share_of_gain']:.1%} ({low:.1%} to {high:.1%})",
            f"{row['evaluations_p50']:.0f}",
            f"{row['wall_ms_p50']:.2f} / {row['wall_ms_p99']:.2f}",
            f"{row['thread_ms_p99']:.2f}",
        )
    Console().print(table)
    if arguments.output:
        document = {
            "machine": {"cpus": os.cpu_count(), "python": platform.python_version()},
            "instances": arguments.instances,
            "seed": arguments.seed,
            "families": found,
        }
        arguments.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
