"""``slotwise capacity``: the highest load up to which violations stay within a bound.

Violations need not rise with the load: at a light load the engine idles, and the first step after
that can be the longest. The search therefore scans the rates upward and ends at the first one that
breaks the bound, whatever holds beyond it.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import inf
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from predictor.errors import InputError
from scheduler.registry import PolicyName
from serving.bench.records import PolicyRun
from serving.report.files import write_atomically
from serving.report.seeds import interval
from serving.simulate.config import SimConfig
from serving.simulate.engines import engine_profiles, run_policy
from serving.simulate.run import progress
from serving.simulate.workload import SimWorkload

# The scan gives up at this many times the load.
_HIGHEST = 4096.0
# Into so many parts the gap between two rates is divided, again and again.
_PARTS = 4


@dataclass(frozen=True, slots=True)
class Search:
    """How finely to look: ``violations`` is the bound, ``tolerance`` the relative precision.

    The scan begins at ``lowest`` times the load and goes up by the factor ``step``.
    """

    violations: float = 0.01
    tolerance: float = 0.02
    lowest: float = 1 / 16
    step: float = 1.25

    def __post_init__(self) -> None:
        if not 0 < self.violations < 1:
            raise InputError(f"--violations {self.violations}: give a share between 0 and 1")
        if not 0 < self.tolerance < 1:
            raise InputError(f"--tolerance {self.tolerance}: give a share between 0 and 1")
        if not 0 < self.lowest < inf:
            raise InputError(f"--lowest {self.lowest}: give a positive, finite number")
        if not 1 < self.step < inf:
            raise InputError(f"--step {self.step}: give a finite factor above 1")


def highest_scale(violations: Callable[[float], float], search: Search, *, label: str) -> float:
    """The highest rate scale up to which violations stay within the bound; 0: none.

    The first rate of the scan that breaks the bound ends it. The gap below that rate is scanned
    in four parts in the same way, and so on until it is within the tolerance. The bound held at the
    scale returned and at every lower one tried. A lower rate that breaks it can only go unseen
    between two neighbours of the scan, ``step`` apart.

    Raises ``InputError`` if the bound holds at every load tried.
    """

    def holds(scale: float) -> bool:
        return violations(scale) <= search.violations

    low, high = 0.0, search.lowest
    while holds(high):
        low, high = high, high * search.step
        if high > _HIGHEST:
            raise InputError(
                f"{label}: never more than {search.violations:.1%} violations up to {low:g} times "
                "the load; give more requests (--num-requests), or tighter targets (--slo-config)"
            )
    while low and high / low > 1 + search.tolerance:
        low, high = _first_broken(holds, low, high)
    return low


def _first_broken(holds: Callable[[float], bool], low: float, high: float) -> tuple[float, float]:
    """The first of the parts of a gap that ends in a broken bound, as ``high`` does."""
    between = (low * (high / low) ** (part / _PARTS) for part in range(1, _PARTS))
    for scale in between:
        if not holds(scale):
            return low, scale
        low = scale
    return low, high


def capacity_rps(
    config: SimConfig, workload: SimWorkload, search: Search, *, name: str, seed: int
) -> float:
    """Requests per second up to which a policy keeps the bound, on one seed's requests; 0: none."""
    policy, profiles = PolicyName.parse(name), engine_profiles(config)

    def violations(scale: float) -> float:
        requests = workload.requests(seed, oracle=policy.oracle, scale=scale)
        return violated_share(
            run_policy(policy, profiles, requests, placement=config.new_placement())
        )

    scale = highest_scale(violations, search, label=f"{name}, seed {seed}")
    return scale * _rate(workload, seed)


def violated_share(run: PolicyRun) -> float:
    """The share of the requests with an SLO that violated it; raises ``InputError`` without any."""
    judged = [record for record in run.records if record.met is not None]
    if not judged:
        raise InputError("no request has a target: give --slo-config with some")
    return 1 - sum(bool(record.met) for record in judged) / len(judged)


def run_capacity(config: SimConfig, search: Search, console: Console) -> None:
    """Find every policy's capacity, print a table, write ``config.output``.

    Raises ``InputError`` if no policy keeps the bound at any load, or one at every load.
    """
    workload = SimWorkload(config, console)
    found: dict[str, list[float]] = {name: [] for name in config.policies}
    with progress(console) as bars:
        bar = bars.add_task("searches", total=config.seeds * len(config.policies))
        for seed in range(config.seed, config.seed + config.seeds):
            for name in config.policies:
                bars.update(bar, description=f"{name}, seed {seed}")
                found[name].append(capacity_rps(config, workload, search, name=name, seed=seed))
                bars.advance(bar)
    if not any(map(sum, found.values())):
        raise InputError(
            f"more than {search.violations:.1%} violations even at {search.lowest:g} times the "
            "load under every policy; loosen the targets (--slo-config), or begin lower (--lowest)"
        )
    document = {
        "config": {**asdict(search), **_said(config)},
        "policies": {name: figures_of(rates) for name, rates in found.items()},
    }
    write_atomically(config.output, json.dumps(document, indent=1) + "\n")
    console.print(_table(document["policies"]))
    console.print(f"result: {config.output}", highlight=False, soft_wrap=True)


def _rate(workload: SimWorkload, seed: int) -> float:
    """Requests per second of a seed's requests at scale 1."""
    requests = workload.requests(seed, oracle=True, scale=1.0)
    span_s = requests[-1].arrival_s - requests[0].arrival_s
    if span_s <= 0:
        raise InputError("all requests arrive at once: there is no rate to scale")
    return (len(requests) - 1) / span_s


def figures_of(rates: list[float]) -> dict[str, Any]:
    """Mean of the seeds' capacities with its 95 % interval."""
    several = len(rates) > 1
    return {
        "capacity_rps": float(np.mean(rates)),
        "interval_95": interval(rates) if several else None,
        "by_seed": rates,
    }


def _table(policies: dict[str, Any]) -> Table:
    table = Table(title="Capacity", title_justify="left")
    for header in ("policy", "requests/s", "95 % interval"):
        table.add_column(header, justify="left" if header == "policy" else "right")
    for name, figures in policies.items():
        bounds = figures["interval_95"]
        between = f"{bounds[0]:.2f} to {bounds[1]:.2f}" if bounds else "-"
        table.add_row(name, f"{figures['capacity_rps']:.2f}", between)
    return table


def _said(config: SimConfig) -> dict[str, Any]:
    return {
        "policies": list(config.policies),
        "instances": list(config.instances),
        "traces": list(config.traces),
        "workload": config.workload,
        "forecast": config.forecast_kind,
        "placement": config.placement,
        "digest_period_s": config.digest_period_s,
        "digest_delay_s": config.digest_delay_s,
        "num_requests": config.num_requests,
        "seeds": config.seeds,
        "seed": config.seed,
    }
