"""Two simulated replicas under three routers, as ``fleet_routing`` has two real ones: more seeds.

python -m benchmarks.fleet_simulated [--profile benchmarks/results/cpu-profile.json] [--load 1.3]
    [--num-prompts 120] [--seeds 10] --output FILE

The same requests and rules, and ours without what slower steps cost. Engines are those of a
recorded profile (one core, SmolLM2-135M), alike or one half as fast. Promises are those of
``fleet_workload`` times ``tightness``. ``power-of-two`` is the shorter queue, as it is of two. The
weight ``crowding``, and how uncertain steps are taken to be, were chosen on seeds 50 to 61.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fleet_routing import OURS, rate_while_full
from benchmarks.fleet_workload import CLASSES, FleetWorkload
from scheduler.placement.config import PlacementConfig
from scheduler.registry import PolicyName
from scheduler.simulator.placement import LeastRequests, Placement, RoundRobin, SloGain
from scheduler.simulator.profiles import EngineProfile, load_profile
from scheduler.simulator.request import SimRequest
from scheduler.slo import Slo
from scheduler.warmup import warm_up_placement
from serving.bench.records import RequestRecord
from serving.report.seeds import interval
from serving.simulate.engines import run_policy

_POLICY = PolicyName.parse("slotwise")
_TIGHTNESS = (0.6, 0.8, 1.0)


def placements() -> dict[str, Placement]:
    """Anew for each run."""
    return {
        OURS: SloGain(period_s=0.1, delay_s=0.05),
        "power-of-two": LeastRequests(),
        "round-robin": RoundRobin(),
        "slo, crowding 0": SloGain(period_s=0.1, delay_s=0.05, config=PlacementConfig(crowding=0)),
    }


@dataclass(frozen=True)
class Scenario:
    """Engines, and promises so many times as long as those of real ones."""

    workload: FleetWorkload
    profiles: tuple[EngineProfile, ...]
    tightness: float

    def attained(self, rule: Placement, rate: float, count: int, seed: int) -> float:
        """The share of promises kept."""
        records = self._records(self.requests(rate, count, seed), rule)
        return float(np.mean([bool(record.met) for record in records]))

    def full_rate(self) -> float:
        """As of real ones."""
        slots = sum(profile.limits.max_num_seqs for profile in self.profiles)
        requests = self.requests(100.0, 4 * slots, 1000)
        at_once = [replace(request, arrival_s=0.0) for request in requests]
        return rate_while_full(self._records(at_once, placements()[OURS]), slots)

    def requests(self, rate: float, count: int, seed: int) -> list[SimRequest]:
        """Of one seed."""
        return [
            SimRequest(
                request_id=each.asked.request_id,
                arrival_s=each.asked.arrival_s,
                prompt_tokens=each.asked.prompt_tokens,
                output_tokens=each.asked.output_tokens,
                slo=self._slo(CLASSES[each.promised].slo),
                lengths=each.lengths,
                slo_class=each.promised,
            )
            for each in self.workload.requests(count, rate, seed)
        ]

    def _slo(self, slo: Slo) -> Slo:
        times = (slo.ttft_s, slo.tpot_s, slo.e2e_s)
        return Slo(*(None if t is None else self.tightness * t for t in times))

    def _records(
        self, requests: Sequence[SimRequest], placement: Placement
    ) -> Sequence[RequestRecord]:
        return run_policy(_POLICY, self.profiles, requests, placement=placement).records


def measured(scenario: Scenario, rate: float, a: argparse.Namespace) -> dict[str, Any]:
    """All rules on one scenario, paired by seed."""
    found: dict[str, list[float]] = {name: [] for name in placements()}
    for seed in range(a.seeds):
        for name, rule in placements().items():
            found[name].append(scenario.attained(rule, rate, a.num_prompts, seed))
    document: dict[str, Any] = {
        "tightness": scenario.tightness,
        "engines": [profile.name for profile in scenario.profiles],
        "rate_rps": rate,
        "routers": {},
    }
    for name, shares in found.items():
        figures = {"slo_attainment": float(np.mean(shares)), "by_seed": shares}
        if name != OURS:
            more = (np.array(found[OURS]) - shares).tolist()
            figures["ours_more"] = {"mean": float(np.mean(more)), "interval_95": interval(more)}
        document["routers"][name] = figures
    return document


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--profile", default="benchmarks/results/cpu-profile.json")
    parser.add_argument("--load", type=float, default=1.3)
    parser.add_argument("--num-prompts", type=int, default=120)
    parser.add_argument("--seeds", type=int, default=10, choices=range(2, 100))
    parser.add_argument("--output", type=Path, required=True)
    a = parser.parse_args()
    warm_up_placement()
    workload = FleetWorkload.packaged()
    whole, half = load_profile(a.profile), load_profile(f"{a.profile}/2")
    scenarios = []
    for profiles in ((whole, whole), (half, whole)):
        rate = a.load * Scenario(workload, profiles, 1.0).full_rate()
        for tightness in _TIGHTNESS:
            scenarios.append(measured(Scenario(workload, profiles, tightness), rate, a))
            print(json.dumps(scenarios[-1]), flush=True)
    document = {"config": {**vars(a), "output": a.output.name}, "scenarios": scenarios}
    a.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
