"""Two real replicas under three routers: whose requests keep the most promises.

python -m benchmarks.fleet_routing [--replicas 2] [--load 1.3] [--num-prompts 96] [--seeds 8]
    [--rate RPS] --output FILE

One fleet; of each seed the same requests under each router, in each seed in another order, so that
neither the machine's hour nor who came first decides. The requests are those of ``fleet_workload``;
no prefix cache, since the same prompts come again.
The load is unequal: each engine has a core, and a process that never rests shares the first one's
(with two cores). ``--load 1`` is the rate at which the fleet answers while all its slots are taken;
it is measured first. Differences are paired by seed.
"""

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rich.console import Console

from benchmarks.fleet_workload import CLASSES, MODEL, MOST_TOKENS, FleetRequest, FleetWorkload
from benchmarks.switching_router import FORECAST, RULE, SwitchingRouter
from serving.bench.records import RequestRecord
from serving.bench.replay import Replay, ReplayRequest
from serving.cluster.config import cluster_config
from serving.cluster.connection import connect
from serving.report.seeds import interval
from serving.xargs import encode

# Of each engine.
_SLOTS = 16
OURS = "slo"
_ROUTERS = tuple(SwitchingRouter.rules)


def replayable(requests: Sequence[FleetRequest], rule: str) -> list[ReplayRequest]:
    """To be placed by this rule, and answered in as many tokens as recorded."""
    return [
        ReplayRequest(
            request_id=request.asked.request_id,
            arrival_s=request.asked.arrival_s,
            prompt=request.asked.prompt,
            slo_class=request.promised,
            prompt_tokens=request.asked.prompt_tokens,
            recorded_tokens=request.asked.output_tokens,
            max_tokens=MOST_TOKENS,
            xargs={
                # A batch job is code or chat, too, by what it asks: only its promise is another.
                **encode(slo_class=request.asked.slo_class, slo=CLASSES[request.promised].slo),
                RULE: rule,
                FORECAST: request.lengths.to_floats(),
            },
        )
        for request in requests
    ]


def replayed(requests: Sequence[ReplayRequest], url: str, seed: int) -> Replay:
    """Send them and wait for all."""
    slos = {name: each.slo for name, each in CLASSES.items()}
    replay = Replay(requests, url, MODEL, slos, timeout_s=600.0, seed=seed)
    asyncio.run(replay.run())
    return replay


def full_rate(url: str, workload: FleetWorkload, slots: int) -> float:
    """Requests a second that the fleet answers while all its slots are taken."""
    requests = replayable(workload.requests(4 * slots, 100.0, 1000), OURS)
    at_once = [replace(request, arrival_s=0.0) for request in requests]
    return rate_while_full(replayed(at_once, url, 0).records, slots)


def rate_while_full(records: Sequence[RequestRecord], slots: int) -> float:
    """Tokens a second while all slots are taken, by the tokens of a mean request.

    (Ends alone would say too much: who is short ends first.) All came at once, four for each slot.
    """
    rows = [(r.ttft_s, r.e2e_s, r.output_tokens) for r in records if r.ttft_s and r.e2e_s]
    first_s, end_s, tokens = np.array(rows).T
    begin_s, until_s = np.sort(end_s)[[slots - 1, 3 * slots - 1]]
    within_s = np.minimum(end_s, until_s) - np.maximum(first_s, begin_s)
    share = np.clip(within_s / np.maximum(end_s - first_s, 1e-9), 0.0, 1.0)
    return float((tokens * share).sum() / (until_s - begin_s) / tokens.mean())


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
            for name in CLASSES
        },
        "failed": sum(record.status != "ok" for record in records),
        "mean_ttft_s": float(np.mean(times["ttft_s"])),
        "mean_e2e_s": float(np.mean(times["e2e_s"])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--load", type=float, default=1.3)
    parser.add_argument("--num-prompts", type=int, default=96)
    parser.add_argument("--seeds", type=int, default=8, choices=range(2, 100))
    parser.add_argument("--port", type=int, default=8127)
    parser.add_argument("--rate", type=float, help="requests/s at load 1, if it is known")
    parser.add_argument("--output", type=Path, required=True)
    a = parser.parse_args()
    os.environ.setdefault("SLOTWISE_DATABASE_URL", f"sqlite:///{a.output.resolve()}.db")
    config = cluster_config(
        {
            "model": MODEL,
            "replicas": a.replicas,
            "accelerator": "cpu",
            "router": "benchmarks.switching_router:SwitchingRouter",
            "engine": {"enable_prefix_caching": False, "max_num_seqs": _SLOTS},
            "settings": {"replay_lengths": True},
        }
    )
    with connect(None, cpus=config.cpus):
        from serving.cluster.serve import Door, fleet  # noqa: PLC0415 - after Ray's start

        door = Door("127.0.0.1", a.port)
        with fleet(config, door, console=Console(), timeout_s=600), unequal(a.replicas):
            measured(door.url, a)


@contextlib.contextmanager
def unequal(replicas: int) -> Iterator[None]:
    """A core for each engine, and somebody else on the first one's."""
    for core, process in enumerate(sorted(_engines(), key=lambda p: p.pid)[:replicas]):
        for each in (process, *process.children(recursive=True)):
            for thread in each.threads():
                os.sched_setaffinity(thread.id, {core})
    # As nice as Ray's workers are, for an equal share.
    neighbour = subprocess.Popen(
        ["nice", "-n", str(_engines()[0].nice()), sys.executable, "-c", "while True: pass"]
    )
    os.sched_setaffinity(neighbour.pid, {0})
    try:
        yield
    finally:
        neighbour.kill()
        neighbour.wait()


def _engines() -> list[psutil.Process]:
    """The engine cores of this process's Ray."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "EngineCore" in " ".join(child.cmdline())]


def measured(url: str, a: argparse.Namespace) -> None:
    """All runs, written down after each seed, from the second on."""
    workload = FleetWorkload.packaged()
    # Every engine learns its step times first.
    full_rate(url, workload, 2 * a.replicas)
    rate = a.rate or full_rate(url, workload, _SLOTS * a.replicas)
    print(f"{rate:.3f} requests/s kept full", flush=True)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in _ROUTERS}
    for seed in range(a.seeds):
        orders = list(permutations(_ROUTERS))
        requests = workload.requests(a.num_prompts, a.load * rate, seed)
        for name in orders[seed % len(orders)]:
            found[name].append(figures(replayed(replayable(requests, name), url, seed).records))
            print(name, seed, json.dumps(found[name][-1]), flush=True)
        if seed:
            document = {
                "config": {**vars(a), "output": a.output.name, "rate_at_load_1": rate},
                "routers": {name: summary(name, found) for name in found},
            }
            a.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def summary(name: str, found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Means, intervals, and what ours has more than this router."""
    attained = [run["slo_attainment"] for run in found[name]]
    document = {
        "slo_attainment": float(np.mean(attained)),
        "interval_95": interval(attained),
        "by_seed": found[name],
    }
    if name != OURS:
        ours = [run["slo_attainment"] for run in found[OURS]]
        more = (np.array(ours) - attained).tolist()
        document["ours_more"] = {"mean": float(np.mean(more)), "interval_95": interval(more)}
    return document


if __name__ == "__main__":
    main()
