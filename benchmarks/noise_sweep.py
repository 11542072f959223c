"""Attainment against the error of the forecasts, on a simulated engine.

python benchmarks/noise_sweep.py --trace chat=conv.csv.gz --trace code=code.csv.gz
    [--scales 3,4.2,6] [--sigmas 0,0.25,0.5,0.75,1,1.25,1.5] [--policies fcfs,sjf,slotwise]
    [--num-requests 4000] [--seeds 5] --output FILE

A forecast is what one knows who sees the logarithm of the true length through Gaussian noise of
standard deviation sigma, and how lengths of the class are distributed. Every seed replays
another stretch of the traces; figures are means with 95 % intervals.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from serving.simulate.attainment import attainments
from serving.simulate.config import SimConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trace", action="append", required=True)
    parser.add_argument("--engine-profile", default="h100-llama-3.1-8b")
    parser.add_argument("--scales", default="3,4.2,6")
    parser.add_argument("--sigmas", default="0,0.25,0.5,0.75,1,1.25,1.5")
    parser.add_argument("--policies", default="fcfs,sjf,slotwise")
    parser.add_argument("--num-requests", type=int, default=4000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    policies = arguments.policies.split(",")
    scales = [float(scale) for scale in arguments.scales.split(",")]
    sigmas = [float(sigma) for sigma in arguments.sigmas.split(",")]
    configs = {
        sigma: SimConfig(
            policies=tuple(policies),
            instances=(arguments.engine_profile,),
            traces=tuple(arguments.trace),
            forecast=f"noise:{sigma:g}",
            num_requests=arguments.num_requests,
            seeds=arguments.seeds,
        )
        for sigma in sigmas
    }
    points = [(scale, name, sigma) for sigma in sigmas for scale in scales for name in policies]
    measured = attainments(
        [(configs[sigma], name, scale) for scale, name, sigma in points], arguments.workers
    )
    found: dict[str, Any] = {f"{scale:g}": {name: {} for name in policies} for scale in scales}
    for (scale, name, sigma), result in zip(points, measured, strict=True):
        found[f"{scale:g}"][name][f"{sigma:g}"] = result
    document = {
        "config": {
            "traces": [Path(trace).name for trace in arguments.trace],
            "instance": arguments.engine_profile,
            "num_requests": arguments.num_requests,
            "seeds": arguments.seeds,
        },
        "scales": found,
    }
    arguments.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
