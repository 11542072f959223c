"""Attainment of one policy at one load, over the seeds of a configuration."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from predictor.errors import InputError
from scheduler.registry import PolicyName
from serving.report.seeds import interval
from serving.simulate.config import SimConfig
from serving.simulate.engines import engine_profiles, run_policy
from serving.simulate.workload import SimWorkload


def attainment(config: SimConfig, workload: SimWorkload, name: str, scale: float) -> dict[str, Any]:
    """SLO attainment and mean latency, with attainment by seed and its 95 % interval.

    Requests without an SLO count towards the latency alone. Raises ``InputError`` if none has one.
    """
    policy = PolicyName.parse(name)
    profiles = engine_profiles(config)
    shares, latency_s = [], []
    for seed in range(config.seed, config.seed + config.seeds):
        requests = workload.requests(seed, oracle=policy.oracle, scale=scale)
        records = run_policy(policy, profiles, requests, placement=config.new_placement()).records
        judged = [record.met for record in records if record.met is not None]
        if not judged:
            raise InputError("no request has a target: give --slo-config with some")
        shares.append(float(np.mean(judged)))
        latency_s.append(float(np.mean([record.e2e_s or 0.0 for record in records])))
    return {
        "slo_attainment": float(np.mean(shares)),
        "mean_e2e_s": float(np.mean(latency_s)),
        "interval_95": interval(shares) if len(shares) > 1 else None,
        "by_seed": shares,
    }


def attainments(
    points: Sequence[tuple[SimConfig, str, float]], workers: int | None = None
) -> list[dict[str, Any]]:
    """:func:`attainment` of each (configuration, policy, scale), in so many processes."""
    with ProcessPoolExecutor(workers) as pool:
        futures = [pool.submit(_measured, *point) for point in points]
        for future in track(as_completed(futures), "policies and loads", total=len(points)):
            future.result()
    return [future.result() for future in futures]


def _measured(config: SimConfig, name: str, scale: float) -> dict[str, Any]:
    return attainment(config, _workload(config), name, scale)


@cache
def _workload(config: SimConfig) -> SimWorkload:
    """Read once in each process."""
    return SimWorkload(config, Console(quiet=True))
