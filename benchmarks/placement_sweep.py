"""Attainment of every placement on instances of two speeds, on simulated engines.

python benchmarks/placement_sweep.py --trace chat=conv.csv.gz --trace code=code.csv.gz
    [--slo-config benchmarks/slo/tight.yaml] [--scales 3.4,4.1] [--num-requests 4000] [--seeds 5]
    --output FILE

Two H100 instances and two half as fast, ``slotwise`` on each, told what each class showed before.
Every seed replays another stretch of the traces. Differences are paired by seed: ``slo-gain``
less the other placement; figures are means with 95 % intervals.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from scheduler.simulator.placement import placement_names
from serving.report.seeds import interval
from serving.simulate.attainment import attainments
from serving.simulate.config import SimConfig

_CARD = "h100-llama-3.1-8b"
_OURS = "slo-gain"


def beside_ours(at_scale: dict[str, dict[str, Any]]) -> None:
    """Add to each other placement what ours has more, by seed."""
    ours = np.array(at_scale[_OURS]["by_seed"])
    for name, figures in at_scale.items():
        if name != _OURS:
            more = (ours - figures["by_seed"]).tolist()
            figures["ours_more"] = {"mean": float(np.mean(more)), "interval_95": interval(more)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trace", action="append", required=True)
    parser.add_argument("--slo-config", type=Path, default=Path("benchmarks/slo/tight.yaml"))
    parser.add_argument("--scales", default="3.4,4.1")
    parser.add_argument("--num-requests", type=int, default=4000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    configs = {
        placement: SimConfig(
            policies=("slotwise",),
            instances=(_CARD, _CARD, f"{_CARD}/2", f"{_CARD}/2"),
            traces=tuple(arguments.trace),
            forecast="history",
            placement=placement,
            slo_config=arguments.slo_config,
            num_requests=arguments.num_requests,
            seeds=arguments.seeds,
        )
        for placement in placement_names()
    }
    scales = [float(scale) for scale in arguments.scales.split(",")]
    points = [(placement, scale) for scale in scales for placement in configs]
    measured = attainments(
        [(configs[placement], "slotwise", scale) for placement, scale in points], arguments.workers
    )
    found: dict[str, dict[str, dict[str, Any]]] = {f"{scale:g}": {} for scale in scales}
    for (placement, scale), result in zip(points, measured, strict=True):
        found[f"{scale:g}"][placement] = result
    for at_scale in found.values():
        beside_ours(at_scale)
    document = {
        "config": {
            "traces": [Path(trace).name for trace in arguments.trace],
            "instances": list(configs[_OURS].instances),
            "slo_config": arguments.slo_config.read_text(encoding="utf-8"),
            "num_requests": arguments.num_requests,
            "seeds": arguments.seeds,
        },
        "scales": found,
    }
    arguments.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
