"""Attainment of every policy against the load, on a simulated engine.

python benchmarks/load_sweep.py --trace chat=conv.csv.gz --trace code=code.csv.gz
    [--engine-profile h100-llama-3.1-8b] [--scales 1.8,2.4,3] [--policies ...] [--forecast history]
    [--placement slo-gain] [--slo-config FILE] [--num-requests 4000] [--seeds 5] --output FILE

Every seed replays another stretch of the traces; figures are means with 95 % intervals.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from serving.simulate.attainment import attainments
from serving.simulate.config import SimConfig

_POLICIES = (
    "fcfs,sjf-oracle,edf,lsf-oracle,shortest-feasible-first-oracle,unpredicted-boost,"
    "anneal-paper-oracle,qoserve,qoserve+predicted-oracle,slotwise-oracle,slotwise"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trace", action="append", required=True)
    parser.add_argument("--engine-profile", action="append")
    parser.add_argument("--scales", default="1.8,2.4,2.7,3,3.3,3.6,4.2,5.1,6")
    parser.add_argument("--policies", default=_POLICIES)
    parser.add_argument("--forecast", default="history")
    parser.add_argument("--placement", default="slo-gain")
    parser.add_argument("--slo-config", type=Path)
    parser.add_argument("--num-requests", type=int, default=4000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    config = SimConfig(
        policies=tuple(arguments.policies.split(",")),
        instances=tuple(arguments.engine_profile or ["h100-llama-3.1-8b"]),
        traces=tuple(arguments.trace),
        forecast=arguments.forecast,
        placement=arguments.placement,
        slo_config=arguments.slo_config,
        num_requests=arguments.num_requests,
        seeds=arguments.seeds,
    )
    scales = [float(scale) for scale in arguments.scales.split(",")]
    points = [(scale, name) for scale in scales for name in config.policies]
    measured = attainments([(config, name, scale) for scale, name in points], arguments.workers)
    found: dict[str, dict[str, Any]] = {name: {} for name in config.policies}
    for (scale, name), result in zip(points, measured, strict=True):
        found[name][f"{scale:g}"] = result
    document = {
        "config": {
            "traces": [Path(trace).name for trace in config.traces],
            "instances": list(config.instances),
            "forecast": config.forecast_kind,
            "placement": config.placement,
            "num_requests": config.num_requests,
            "seeds": config.seeds,
        },
        "policies": found,
    }
    arguments.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
