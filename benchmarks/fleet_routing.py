"""Two real replicas under three routers: whose requests keep the most promises.

python benchmarks/fleet_routing.py [--replicas 2] [--load 1.3] [--num-prompts 60] [--seeds 3]
    [--routers slo,power-of-two,round-robin] --output FILE

One fleet after another on this machine, the same requests for each: ShareGPT test conversations,
half code, half chat, one in six of them a long batch job, answers as long as the model likes (256
tokens at most), the packaged predictor's forecasts. ``--load 1`` is the rate at which the first
fleet, kept full, answers; it is measured first. Differences are paired by seed.
"""

import argparse
import asyncio
import json
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from rich.console import Console

from scheduler.slo import Slo, SloClass
from serving.bench.config import BenchConfig
from serving.bench.records import RequestRecord
from serving.bench.replay import Replay, ReplayRequest
from serving.bench.workload import bench_requests
from serving.cluster.config import cluster_config
from serving.cluster.connection import connect
from serving.report.seeds import interval
from serving.train import token_counter
from serving.xargs import encode

_MODEL = "smollm2"
_CAP = 256
_CLASSES = {
    "code": SloClass("code", Slo(e2e_s=30.0)),
    "chat": SloClass("chat", Slo(ttft_s=4.0, tpot_s=0.25)),
    "batch": SloClass("batch", Slo(e2e_s=240.0)),
}
_BATCH_EVERY = 6
_OURS = "slo"


def requests_of(count: int, rate: float, seed: int) -> list[ReplayRequest]:
    """The requests of one seed."""
    config = BenchConfig(
        policies=("fcfs",), model=_MODEL, num_prompts=count, request_rate=rate, seed=seed
    )
    found, _ = bench_requests(config, token_counter(_MODEL))
    requests = []
    for place, request in enumerate(found):
        name = "batch" if place % _BATCH_EVERY == 0 else request.slo_class
        slo_class = _CLASSES[name]
        requests.append(
            ReplayRequest(
                request_id=request.request_id,
                arrival_s=request.arrival_s,
                prompt=request.prompt,
                slo_class=name,
                prompt_tokens=request.prompt_tokens,
                recorded_tokens=request.output_tokens,
                max_tokens=_CAP,
                force_length=False,
                xargs=encode(slo_class="code", slo=slo_class.slo),
            )
        )
    return requests


def replayed(requests: Sequence[ReplayRequest], url: str, seed: int) -> Replay:
    """Send them and wait for all."""
    slos = {name: each.slo for name, each in _CLASSES.items()}
    replay = Replay(requests, url, _MODEL, slos, timeout_s=600.0, seed=seed)
    asyncio.run(replay.run())
    return replay


def full_rate(url: str, count: int) -> float:
    """Requests a second that the fleet answers while it is kept full."""
    requests = [replace(r, arrival_s=0.0) for r in requests_of(count, 100.0, 1000)]
    replay = replayed(requests, url, 0)
    return len(replay.records) / replay.duration_s


def figures(records: Sequence[RequestRecord]) -> dict[str, Any]:
    """Of one run."""
    judged = [record for record in records if record.met is not None]
    times = {"ttft_s": [], "e2e_s": []}  # type: dict[str, list[float]]
    for record in records:
        if record.ttft_s is not None and record.e2e_s is not None:
            times["ttft_s"].append(record.ttft_s)
            times["e2e_s"].append(record.e2e_s)
    return {
        "slo_attainment": float(np.mean([bool(r.met) for r in judged])),
        "classes": {
            name: float(np.mean([bool(r.met) for r in judged if r.slo_class == name]))
            for name in _CLASSES
        },
        "failed": sum(record.status != "ok" for record in records),
        "mean_ttft_s": float(np.mean(times["ttft_s"])),
        "mean_e2e_s": float(np.mean(times["e2e_s"])),
    }


def shares(url: str) -> dict[str, float]:
    """Requests that each replica was sent, and decisions by what decided."""
    text = httpx.get(f"{url}/slotwise/metrics", timeout=30.0, trust_env=False).text
    kept = ("slotwise_router_requests_total", "slotwise_router_decisions_total")
    lines = (line.rpartition(" ") for line in text.splitlines() if line.startswith(kept))
    return {name: float(value) for name, _, value in lines}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--load", type=float, default=1.3)
    parser.add_argument("--num-prompts", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--routers", default="slo,power-of-two,round-robin")
    parser.add_argument("--port", type=int, default=8127)
    parser.add_argument("--rate", type=float, help="requests/s at load 1, if it is known")
    parser.add_argument("--output", type=Path, required=True)
    a = parser.parse_args()
    url, rate = f"http://127.0.0.1:{a.port}", a.rate
    found: dict[str, Any] = {}
    os.environ.setdefault("SLOTWISE_DATABASE_URL", f"sqlite:///{a.output.resolve()}.db")
    for router in a.routers.split(","):
        config = cluster_config(
            {"model": _MODEL, "replicas": a.replicas, "accelerator": "cpu", "router": router}
        )
        with connect(None, cpus=config.cpus):
            from serving.cluster.serve import Door, fleet  # noqa: PLC0415 - after Ray's start

            began_s = time.monotonic()
            with fleet(config, Door("127.0.0.1", a.port), console=Console(), timeout_s=600):
                print(f"{router}: up in {time.monotonic() - began_s:.0f} s", flush=True)
                # Every engine learns its step times first.
                warm = full_rate(url, 16 * a.replicas)
                rate = rate or warm
                print(f"{router}: {warm:.3f} requests/s kept full", flush=True)
                runs = []
                for seed in range(a.seeds):
                    requests = requests_of(a.num_prompts, a.load * rate, seed)
                    runs.append(figures(replayed(requests, url, seed).records))
                    print(router, seed, json.dumps(runs[-1]), flush=True)
                found[router] = {"full_rate_rps": warm, "by_seed": runs, "router": shares(url)}
    document = {
        "config": {**vars(a), "output": a.output.name, "rate_at_load_1": rate},
        "routers": {name: summary(name, found) for name in found},
    }
    a.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def summary(name: str, found: dict[str, Any]) -> dict[str, Any]:
    """Means, intervals, and what ours has more than this router."""
    attained = [run["slo_attainment"] for run in found[name]["by_seed"]]
    document = {
        "slo_attainment": float(np.mean(attained)),
        "interval_95": interval(attained),
        **found[name],
    }
    if name != _OURS and _OURS in found:
        ours = [run["slo_attainment"] for run in found[_OURS]["by_seed"]]
        more = (np.array(ours) - attained).tolist()
        document["ours_more"] = {"mean": float(np.mean(more)), "interval_95": interval(more)}
    return document


if __name__ == "__main__":
    main()
