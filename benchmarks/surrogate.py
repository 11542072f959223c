"""Whether the value of a plan ranks orders as the simulated engine does.

python benchmarks/surrogate.py [--instances 40] [--orders 30] [--output FILE]

An instance: requests fill the slots of an engine and so many wait behind them, half code, half
chat. Random orders of the waiting get the value that the planner gives them
(``scheduler.slots.walk``) and are served in that order, without replanning or preemption, by the
simulated engine (vLLM's loop, chunked prefills, token budget). There the
value is counted from what happened: kept promises and finished requests, faded with the time to
the first token as the planner fades them, the mean over ``--draws`` draws of the
lengths from their forecasts. The figure is Spearman's rank correlation over the orders. *Ceiling*
is the highest that anything could have with a mean over so few draws: the root of its reliability,
from the correlation of the two halves of the draws (Spearman and Brown).
"""

import argparse
import json
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import norm, spearmanr

from predictor.distribution import LengthDistribution, log_edges
from scheduler.decision import Plan, StepDecision
from scheduler.driver import Driver
from scheduler.latency import StepLatency
from scheduler.simulator.cluster import serve
from scheduler.simulator.engine import SimulatedEngine
from scheduler.simulator.request import SimRequest
from scheduler.simulator.step_time import StepTime
from scheduler.slo import Slo
from scheduler.slots.chance import Terms
from scheduler.slots.config import SlotConfig
from scheduler.slots.price import no_demand
from scheduler.slots.problem import SlotProblem
from scheduler.slots.timetable import Timetable
from scheduler.slots.walk import walk
from scheduler.snapshot import Ints, Limits, Snapshot

EDGES = log_edges(2048, 48)


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of instance; ``sigma`` is the spread of the forecasts, 0 for known lengths."""

    name: str
    waiting: int
    slots: int
    latency: StepLatency
    sigma: float


CPU = StepLatency.linear(
    step_s=0.037, decode_s=6.5e-4, context_token_s=3e-8, prefill_step_s=8e-3, prompt_token_s=7e-4
)
GPU = StepLatency.linear(
    step_s=0.0064, decode_s=1.1e-5, context_token_s=4e-8, prefill_step_s=2e-3, prompt_token_s=1.5e-5
)
FAMILIES = tuple(
    Family(f"{device}, {waiting} waiting, {slots} slots, {kind}", waiting, slots, latency, sigma)
    for device, latency, waiting, slots in (("cpu", CPU, 40, 8), ("gpu", GPU, 200, 32))
    for kind, sigma in (("known lengths", 0.0), ("forecast lengths", 0.7))
)


class FixedOrder:
    """Serves by ``priority``, whatever happens."""

    name = "fixed"

    def plan(self, snapshot: Snapshot, previous: Plan | None) -> Plan | None:  # noqa: ARG002
        """Have no plan."""
        return None

    def step(self, snapshot: Snapshot, plan: Plan | None) -> StepDecision:  # noqa: ARG002
        """Sort by priority."""
        waiting = snapshot.waiting
        return StepDecision(order=waiting.handle[np.argsort(waiting.priority, kind="stable")])


def forecast(median: float, sigma: float) -> LengthDistribution:
    if sigma == 0.0:
        return LengthDistribution.point(max(round(median), 1))
    cdf = norm.cdf(np.log(np.maximum(EDGES, 1e-3) / median) / sigma)
    cdf[0], cdf[-1] = 0.0, 1.0
    return LengthDistribution.from_cdf(EDGES, cdf)


def requests_of(family: Family, seed: int) -> list[SimRequest]:
    """One instance; everybody arrives at once, with deadlines from hopeless to easy.

    The first so many as there are slots come first in every order.
    """
    rng = np.random.default_rng(seed)
    token_s = float(family.latency.decode_s(family.slots, 500.0))
    turn_s = 200 * token_s * family.waiting / family.slots
    found = []
    for number in range(family.slots + family.waiting):
        slo = Slo(ttft_s=turn_s * rng.uniform(0.1, 0.8), tpot_s=2.5 * token_s)
        if rng.random() < 0.5:
            slo = Slo(e2e_s=turn_s * rng.uniform(0.3, 1.2))
        lengths = forecast(min(np.exp(rng.normal(5.0, 0.8)), 1000.0), family.sigma)
        prompt = int(rng.integers(20, 400))
        found.append(SimRequest(str(number), 0.0, prompt, 1, slo, lengths))
    return found


def engine(family: Family) -> SimulatedEngine:
    limits = Limits(family.slots, 2048, 10**7)
    driver = Driver(policy=FixedOrder(), limits=limits, latency=family.latency, time_box_s=inf)
    return SimulatedEngine(
        driver=driver, limits=limits, step_time=StepTime.of_latency(family.latency)
    )


def planned_values(family: Family, requests: list[SimRequest], orders: Ints) -> tuple[Any, Terms]:
    """The planner's value of each order."""
    idle = engine(family)
    for request in requests:
        idle.driver.tracker.arrived(request.arrival())
    snapshot = idle.driver.tracker.snapshot(now_s=0.0, latency=family.latency)
    config = SlotConfig(patience=1.0)
    problem = SlotProblem.of(snapshot, config)
    terms = Terms.of(problem, config, no_demand())
    table = Timetable.of(problem, terms)
    free, turns = np.empty((2, len(table.cell_of))), np.empty_like(orders[0])
    values = [walk(order, table, terms, free, turns)[0] for order in orders]
    return np.array(values), terms


def served_value(
    family: Family, requests: list[SimRequest], order: Ints, lengths: Ints, terms: Terms
) -> float:
    """The value of an order as it turned out in the simulated engine."""
    place = np.argsort(order)
    served = [
        SimRequest(r.request_id, 0.0, r.prompt_tokens, int(n), r.slo, r.lengths, priority=int(p))
        for r, n, p in zip(requests, lengths, place, strict=True)
    ]
    outcomes = serve([engine(family)], served)
    worth = [(o.met + terms.done_worth) * np.exp(-o.ttft_s / terms.horizon_s) for o in outcomes]
    return float(sum(worth))


def ceiling(served: Any) -> float:
    """Of values float64[draws, orders]; 1 for a single draw, which is no draw at all."""
    if len(served) == 1:
        return 1.0
    halves = spearmanr(served[::2].mean(axis=0), served[1::2].mean(axis=0)).statistic
    return float(np.sqrt(2 * halves / (1 + halves)))


def correlation(family: Family, seed: int, count: int, draws: int) -> tuple[float, float]:
    """Of the planned and the served value, and its ceiling."""
    rng = np.random.default_rng(seed)
    requests = requests_of(family, seed)
    first = np.arange(family.slots)
    orders = np.array(
        [np.append(first, family.slots + rng.permutation(family.waiting)) for _ in range(count)]
    )
    planned, terms = planned_values(family, requests, orders)
    draws = draws if family.sigma else 1
    levels = rng.random((draws, len(requests)))
    lengths = np.array(
        [[r.lengths.quantile(u) for r, u in zip(requests, row, strict=True)] for row in levels]
    )
    lengths = np.maximum(np.rint(lengths), 1).astype(np.int64)
    served = np.array(
        [
            [served_value(family, requests, order, drawn, terms) for order in orders]
            for drawn in lengths
        ]
    )
    return float(spearmanr(planned, served.mean(axis=0)).statistic), ceiling(served)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instances", type=int, default=40)
    parser.add_argument("--orders", type=int, default=30)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    found = {}
    for family in FAMILIES:
        seeds = range(arguments.seed, arguments.seed + arguments.instances)
        pairs = [
            correlation(family, seed, arguments.orders, arguments.draws)
            for seed in track(seeds, description=family.name)
        ]
        rho, most = np.array(pairs).T
        found[family.name] = {
            "mean": float(rho.mean()),
            "p10": float(np.percentile(rho, 10)),
            "min": float(rho.min()),
            "ceiling": float(most.mean()),
        }
    table = Table("instances", "rank correlation", "p10", "lowest", "ceiling")
    for name, row in found.items():
        table.add_row(name, *(f"{row[key]:.3f}" for key in ("mean", "p10", "min", "ceiling")))
    Console().print(table)
    if arguments.output:
        document = {**vars(arguments), "output": None, "families": found}
        arguments.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
