"""Attainment of one policy at one load, over the seeds of a configuration."""

from typing import Any

import numpy as np

from scheduler.registry import PolicyName
from serving.report.seeds import interval
from serving.simulate.config import SimConfig
from serving.simulate.engines import run_policy
from serving.simulate.run import engine_profiles
from serving.simulate.workload import SimWorkload


def attainment(config: SimConfig, workload: SimWorkload, name: str, scale: float) -> dict[str, Any]:
    """Share of kept promises and mean latency, with the share by seed and its 95 % interval."""
    policy = PolicyName.parse(name)
    profiles = engine_profiles(config)
    shares, latency_s = [], []
    for seed in range(config.seed, config.seed + config.seeds):
        requests = workload.requests(seed, oracle=policy.oracle, scale=scale)
        records = run_policy(policy, profiles, requests, placement=config.placement).records
        shares.append(float(np.mean([bool(record.met) for record in records])))
        latency_s.append(float(np.mean([record.e2e_s or 0.0 for record in records])))
    return {
        "slo_attainment": float(np.mean(shares)),
        "mean_e2e_s": float(np.mean(latency_s)),
        "interval_95": interval(shares) if len(shares) > 1 else None,
        "by_seed": shares,
    }
