"""``slotwise capacity``: the highest load that stays within a bound on violations."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from predictor.errors import InputError
from scheduler.registry import PolicyName
from serving.report.files import write_atomically
from serving.report.seeds import interval
from serving.simulate.config import SimConfig
from serving.simulate.engines import run_policy
from serving.simulate.run import engine_profiles, progress
from serving.simulate.workload import SimWorkload

# The search doubles or halves the load this often before it gives up.
_REACH = 12


@dataclass(frozen=True, slots=True)
class Search:
    """How finely to look: ``violations`` is the bound, ``tolerance`` the relative precision."""

    violations: float = 0.01
    tolerance: float = 0.02

    def __post_init__(self) -> None:
        if not 0 < self.violations < 1:
            raise InputError(f"--violations {self.violations}: give a share between 0 and 1")
        if not 0 < self.tolerance < 1:
            raise InputError(f"--tolerance {self.tolerance}: give a share between 0 and 1")


def highest_scale(violations: Callable[[float], float], search: Search, *, label: str) -> float:
    """Bisect for the highest rate scale whose violations stay within the bound.

    Raises ``InputError`` if the bound holds, or is broken, at every load tried.
    """
    low, high = 0.0, 1.0
    for _ in range(_REACH):
        if violations(high) > search.violations:
            break
        low, high = high, 2 * high
    else:
        raise InputError(
            f"{label}: never more than {search.violations:.1%} violations up to {low:g} times the "
            "load; give more requests (--num-requests), or tighter targets (--slo-config)"
        )
    for _ in range(_REACH):
        if low:
            break
        if violations(high / 2) <= search.violations:
            low = high / 2
        else:
            high /= 2
    if not low:
        raise InputError(
            f"{label}: more than {search.violations:.1%} violations even at {high:g} times the "
            "load; the targets cannot be met on this engine, loosen them (--slo-config)"
        )
    while high / low > 1 + search.tolerance:
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if violations(middle) <= search.violations else (low, middle)
    return low


def capacity_rps(
    config: SimConfig, workload: SimWorkload, search: Search, *, name: str, seed: int
) -> float:
    """Requests per second that a policy carries within the bound, on one seed's requests."""
    policy, profiles = PolicyName.parse(name), engine_profiles(config)

    def violations(scale: float) -> float:
        requests = workload.requests(seed, oracle=policy.oracle, scale=scale)
        run = run_policy(policy, profiles, requests, placement=config.new_placement())
        promised = [record for record in run.records if record.met is not None]
        if not promised:
            raise InputError("no request has a target: give --slo-config with some")
        return 1 - sum(bool(r.met) for r in promised) / len(promised)

    scale = highest_scale(violations, search, label=f"{name}, seed {seed}")
    return scale * _rate(workload, seed)


def run_capacity(config: SimConfig, search: Search, console: Console) -> None:
    """Find every policy's capacity, print a table, write ``config.output``."""
    workload = SimWorkload(config, console)
    found: dict[str, list[float]] = {name: [] for name in config.policies}
    with progress(console) as bars:
        bar = bars.add_task("searches", total=config.seeds * len(config.policies))
        for seed in range(config.seed, config.seed + config.seeds):
            for name in config.policies:
                bars.update(bar, description=f"{name}, seed {seed}")
                found[name].append(capacity_rps(config, workload, search, name=name, seed=seed))
                bars.advance(bar)
    document = {
        "config": {"violations": search.violations, "tolerance": search.tolerance, **_said(config)},
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
