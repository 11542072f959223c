"""Placement on 4 to 1,024 simulated instances: attainment, capacity, router time, old digests,
several routers.

python benchmarks/fleet_scale.py [--sizes 4,16,64,256,1024] [--cards h100,a100,l40s]
    [--bounds 256,1024] [--seconds 60] [--age-sizes 16,64] [--router-sizes 16,64]
    [--period-ms 100] --output FILE

`--singles FILE` takes the capacities of the cards alone from an earlier result.

Of the cards in turn, Llama-3.1-8B on each, 64 slots; summaries of the `arxiv-v1` workload (prompts
of 3,253 tokens, answers of 356), Poisson arrivals for so many seconds, lengths forecast with
log-normal noise of sigma 0.5, policy `slotwise`. A card's capacity alone is the highest rate at
which 95 % of the promises are kept, over several runs of the same seconds; a fleet's stands beside
the sum of those.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from scheduler.registry import PolicyName
from scheduler.simulator.placement import SloGain, create_placement
from scheduler.simulator.profiles import EngineProfile
from scheduler.simulator.request import SimRequest
from scheduler.warmup import warm_up_placement
from serving.simulate.config import SimConfig
from serving.simulate.engines import engine_profiles, run_policy
from serving.simulate.workload import SimWorkload

_POLICY = PolicyName.parse("slotwise")
_GOAL = 0.95
_SLOTS = 64
# The slowest card: what it can keep, everybody can.
_PROMISED_BY = "l40s"
# Bisections from 0 to 16 requests a second, and from 0.7 to 1.4 times the sum of the cards.
_STEPS_ALONE, _STEPS_FLEET = 10, 6


@dataclass(frozen=True)
class Fleet:
    """Instances, and for how long requests come."""

    cards: tuple[str, ...]
    seconds: float

    def config(self, cards: tuple[str, ...], rate: float = 1.0) -> SimConfig:
        """As ``slotwise simulate`` would have it."""
        return SimConfig(
            policies=(_POLICY.full,),
            instances=tuple(f"{card}-llama-3.1-8b" for card in cards),
            workload="arxiv-v1",
            forecast="noise:0.5",
            rate=rate,
            num_requests=max(round(rate * self.seconds), 1),
            max_num_seqs=_SLOTS,
        )

    @property
    def profiles(self) -> list[EngineProfile]:
        """Of the instances."""
        return engine_profiles(self.config(self.cards))

    def requests(self, rate: float, seed: int) -> list[SimRequest]:
        """So many a second; what they are promised goes by the slowest card."""
        workload = SimWorkload(self.config((_PROMISED_BY,), rate), Console(quiet=True))
        return workload.requests(seed, oracle=False)


@dataclass(frozen=True)
class Run:
    """One run of a fleet."""

    attainment: float
    duration_s: float
    wall_s: float
    digests: int
    choice_s: tuple[float, ...]

    def figures(self) -> dict[str, Any]:
        """For the result file."""
        found: dict[str, Any] = {"slo_attainment": self.attainment, "wall_s": self.wall_s}
        if self.choice_s:
            times_us = 1e6 * np.array(self.choice_s)
            found["router_us"] = {
                "p50": float(np.percentile(times_us, 50)),
                "p99": float(np.percentile(times_us, 99)),
            }
            found["digests_per_s"] = self.digests / self.duration_s
        return found


def run(fleet: Fleet, rate: float, *, placement: Any, seed: int = 0) -> Run:
    """Serve the fleet's requests at so many a second in all."""
    requests = fleet.requests(rate, seed)
    began_s = time.perf_counter()
    found = run_policy(_POLICY, fleet.profiles, requests, placement=placement)
    ours = isinstance(placement, SloGain)
    return Run(
        attainment=float(np.mean([bool(record.met) for record in found.records])),
        duration_s=max(request.arrival_s for request in requests),
        wall_s=time.perf_counter() - began_s,
        digests=placement.published if ours else 0,
        choice_s=tuple(placement.choice_s) if ours else (),
    )


def alone(card: str, rate: float, *, seconds: float, repeats: int) -> float:
    """Attainment of one instance, over so many independent runs."""
    fleet = Fleet((card,), seconds)
    return float(
        np.mean([run(fleet, rate, placement=None, seed=k).attainment for k in range(repeats)])
    )


def capacity(attained: Any, low: float, high: float, steps: int) -> float:
    """The highest rate at which ``attained(rate)`` reaches the goal, by bisection."""
    for _ in range(steps):
        rate = (low + high) / 2
        low, high = (rate, high) if attained(rate) >= _GOAL else (low, rate)
    return low


def single_capacities(cards: Sequence[str], *, seconds: float, repeats: int) -> dict[str, float]:
    """Of one instance of each card, in requests per second."""
    found = {}
    for card in dict.fromkeys(cards):
        found[card] = capacity(
            lambda rate, card=card: alone(card, rate, seconds=seconds, repeats=repeats),
            0.0,
            16.0,
            _STEPS_ALONE,
        )
        print(f"{card} alone: {found[card]:.2f} requests/s", flush=True)
    return found


def parsed() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sizes", default="4,16,64,256,1024")
    parser.add_argument("--cards", default="h100,a100,l40s")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--repeats", type=int, default=24, help="runs of a card alone")
    parser.add_argument("--bounds", default="", help="sizes run at the sum of the cards alone")
    parser.add_argument("--age-sizes", default="16,64")
    parser.add_argument("--ages-ms", default="0,100,250,500,1000,2000")
    parser.add_argument("--router-sizes", default="16,64")
    parser.add_argument("--routers", default="1,2,4,16")
    parser.add_argument("--age-seeds", type=int, default=3)
    parser.add_argument("--period-ms", type=float, default=100.0)
    parser.add_argument("--singles", type=Path, help="result file with single_capacity_rps")
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


@dataclass(frozen=True)
class Sweep:
    """What is measured of fleets, by what their cards carry alone."""

    arguments: argparse.Namespace
    singles: dict[str, float]

    def fleet(self, size: int) -> tuple[Fleet, float]:
        """Cards in turn, and the sum of what they carry."""
        cards = self.arguments.cards.split(",")
        chosen = tuple(cards[k % len(cards)] for k in range(size))
        return Fleet(chosen, self.arguments.seconds), sum(self.singles[card] for card in chosen)

    def ours(self, delay_s: float = 0.01, routers: int = 1) -> SloGain:
        """Our placement, with digests heard so much later."""
        period_s = self.arguments.period_ms / 1e3
        return SloGain(period_s=period_s, delay_s=delay_s, routers=routers)

    def bound(self, size: int) -> dict[str, Any]:
        """One run at the sum of the cards."""
        fleet, nominal_rps = self.fleet(size)
        figures = run(fleet, nominal_rps, placement=self.ours()).figures()
        return {"sum_of_singles_rps": nominal_rps, "at_sum_of_singles": {"slo-gain": figures}}

    def size(self, size: int) -> dict[str, Any]:
        """The same, round robin beside it, and the capacity."""
        fleet, nominal_rps = self.fleet(size)
        found = self.bound(size)
        turns = run(fleet, nominal_rps, placement=create_placement("round-robin"))
        found["at_sum_of_singles"]["round-robin"] = turns.figures()
        best_rps = capacity(
            lambda rate: run(fleet, rate, placement=self.ours()).attainment,
            0.7 * nominal_rps,
            1.4 * nominal_rps,
            _STEPS_FLEET,
        )
        return {**found, "capacity_rps": best_rps, "capacity_share": best_rps / nominal_rps}

    def ages(self, size: int) -> dict[str, Any]:
        """Attainment at the sum of the cards, by the age of digests."""
        return {
            f"{age_ms:g}": self.kept(size, delay_s=age_ms / 1e3)
            for age_ms in map(float, self.arguments.ages_ms.split(","))
        }

    def routers(self, size: int) -> dict[str, Any]:
        """Attainment at the sum of the cards, by how many routers share the requests."""
        return {
            count: self.kept(size, routers=int(count))
            for count in self.arguments.routers.split(",")
        }

    def kept(self, size: int, **how: Any) -> dict[str, Any]:
        """Attainment at the sum of the cards, over the seeds."""
        fleet, nominal_rps = self.fleet(size)
        shares = [
            run(fleet, nominal_rps, placement=self.ours(**how), seed=seed).attainment
            for seed in range(self.arguments.age_seeds)
        ]
        return {"slo_attainment": float(np.mean(shares)), "by_seed": shares}


def main() -> None:
    a = parsed()
    warm_up_placement()
    if a.singles:
        singles = json.loads(a.singles.read_text(encoding="utf-8"))["single_capacity_rps"]
    else:
        cards = a.cards.split(",")
        singles = single_capacities(cards, seconds=a.seconds, repeats=a.repeats)
    settings = {name: v.name if isinstance(v, Path) else v for name, v in vars(a).items()}
    document: dict[str, Any] = {
        "config": {**settings, "goal": _GOAL, "slots": _SLOTS},
        "single_capacity_rps": singles,
        "sizes": {},
        "ages": {},
        "routers": {},
    }
    sweep = Sweep(a, singles)
    asked = (
        ("sizes", a.sizes, sweep.size),
        ("sizes", a.bounds, sweep.bound),
        ("ages", a.age_sizes, sweep.ages),
        ("routers", a.router_sizes, sweep.routers),
    )
    for part, sizes, measure in asked:
        for size in filter(None, sizes.split(",")):
            document[part][size] = measure(int(size))
            print(size, json.dumps(document[part][size]), flush=True)
            # Long runs may be ended: what is there is kept.
            a.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
