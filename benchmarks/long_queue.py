"""What a decision takes, by how many requests wait.

python benchmarks/long_queue.py [--waiting 1000 4000 ...] [--steps 400] [--output FILE]

An engine with 256 slots, all taken, and step times of an 8B model on a data-centre GPU. In each
step every running request puts out a token and two requests arrive; in every second step one ends.
Half have an end-to-end SLO, half one on TTFT and TPOT; length forecasts are log-normal. The whole
call of ``Driver.decide`` is timed: by the thread's CPU time, and on the wall, which includes
whatever else the machine does. The driver's time box counts CPU time, so that other processes make
no policy late.
"""

import argparse
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from predictor.distribution import LengthDistribution, log_edges
from scheduler.driver import Driver
from scheduler.latency import StepLatency
from scheduler.registry import create_policy
from scheduler.slo import Slo
from scheduler.snapshot import Limits
from scheduler.tracker import Arrival
from scheduler.warmup import warm_up

WAITING = (1_000, 4_000, 8_000, 20_000, 50_000, 100_000)
POLICIES = ("slotwise", "qoserve", "slidingserve", "sjf")
LATENCY = StepLatency.linear(
    step_s=0.0064,
    decode_s=1.1e-5,
    context_token_s=4e-8,
    prefill_step_s=0.006,
    prompt_token_s=1.5e-5,
)
LIMITS = Limits(max_num_seqs=256, max_batched_tokens=8192, kv_tokens=10**7)
STEP_S, WARM_STEPS = 0.02, 20


class Load:
    """One engine's requests, made as they are needed."""

    def __init__(self, policy: str, waiting: int, *, time_box_s: float, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.driver = Driver(
            policy=create_policy(policy, time_box_s=time_box_s),
            limits=LIMITS,
            latency=LATENCY,
            time_box_s=time_box_s,
            clock=time.thread_time,
        )
        edges = log_edges(2048, 48)
        self._forecasts = [
            LengthDistribution.from_samples(
                self.rng.lognormal(median, 0.7, 60).clip(1, 2000), edges=edges
            )
            for median in self.rng.normal(5.0, 0.8, 64)
        ]
        self._number, self.now_s = 0, 100.0
        count = waiting + LIMITS.max_num_seqs
        names = [self.arrive(100.0 * k / count) for k in range(count)]
        self.running = names[: LIMITS.max_num_seqs]
        self.driver.tracker.scheduled(dict.fromkeys(self.running, 800))
        self.driver.tracker.tokens(dict.fromkeys(self.running, 1), self.now_s)

    def arrive(self, at_s: float) -> str:
        """One more request."""
        self._number += 1
        name, rng = str(self._number), self.rng
        slo = Slo(e2e_s=float(rng.uniform(5.0, 400.0)))
        if self._number % 2:
            slo = Slo(ttft_s=float(rng.uniform(1.0, 200.0)), tpot_s=0.1)
        forecast = self._forecasts[self._number % len(self._forecasts)]
        arrival = Arrival(name, at_s, int(rng.integers(20, 800)), 2048, slo, forecast)
        self.driver.tracker.arrived(arrival)
        return name

    def step(self, number: int) -> tuple[float, float]:
        """One step: seconds of the decision by CPU time and on the wall."""
        tracker = self.driver.tracker
        self.now_s += STEP_S
        tracker.tokens(dict.fromkeys(self.running, 1), self.now_s)
        for _ in range(2):
            self.arrive(self.now_s)
        if number % 2 == 0 and self.running:
            tracker.finished(self.running.pop(int(self.rng.integers(len(self.running)))))
        wall_s, thread_s = time.perf_counter(), time.thread_time()
        decision = self.driver.decide(now_s=self.now_s)
        thread_s, wall_s = time.thread_time() - thread_s, time.perf_counter() - wall_s
        for name in tracker.request_ids(decision.preempt):
            tracker.preempted(name)
            self.running.remove(name)
        held = set(decision.held.tolist()) | set(decision.preempt.tolist())
        free = LIMITS.max_num_seqs - len(self.running)
        for handle in decision.order[: 2 * LIMITS.max_num_seqs].tolist():
            request = tracker.find(handle)
            if free < 1 or request is None or handle in held or tracker.runs(request):
                continue
            tracker.scheduled({request: 10_000})
            self.running.append(request)
            free -= 1
        return thread_s, wall_s


def study(policy: str, waiting: int, *, steps: int, time_box_s: float, seed: int) -> dict[str, Any]:
    """Milliseconds of a decision with so many waiting."""
    load = Load(policy, waiting, time_box_s=time_box_s, seed=seed)
    found_ms = 1e3 * np.array([load.step(number) for number in range(WARM_STEPS + steps)])
    row: dict[str, Any] = {"policy": policy, "waiting": waiting}
    for name, column in (("cpu_ms", 0), ("wall_ms", 1)):
        values = found_ms[WARM_STEPS:, column]
        row[name] = {
            "p50": round(float(np.percentile(values, 50)), 3),
            "p99": round(float(np.percentile(values, 99)), 3),
            "max": round(float(values.max()), 3),
        }
    row["first_ms"] = round(float(found_ms[0, 0]), 3)
    row["fallbacks"] = load.driver.fallbacks
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--waiting", type=int, nargs="+", default=WAITING)
    parser.add_argument("--policies", nargs="+", default=POLICIES)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--time-box-ms", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    rows = []
    for policy in arguments.policies:
        warm_up(policy)
        rows += [
            study(
                policy,
                waiting,
                steps=arguments.steps,
                time_box_s=arguments.time_box_ms / 1e3,
                seed=arguments.seed,
            )
            for waiting in arguments.waiting
        ]
    table = Table("policy", "waiting", "CPU ms p50", "p99", "max", "wall ms p50", "fallbacks")
    for row in rows:
        cpu = row["cpu_ms"]
        numbers = (cpu["p50"], cpu["p99"], cpu["max"], row["wall_ms"]["p50"])
        table.add_row(
            row["policy"],
            f"{row['waiting']:,}",
            *(f"{number:.2f}" for number in numbers),
            str(row["fallbacks"]),
        )
    Console().print(table)
    if arguments.output:
        document = {
            "machine": {"cpus": os.cpu_count(), "python": platform.python_version()},
            "steps": arguments.steps,
            "time_box_ms": arguments.time_box_ms,
            "seed": arguments.seed,
            "slots": LIMITS.max_num_seqs,
            "rows": rows,
        }
        arguments.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
