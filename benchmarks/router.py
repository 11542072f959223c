"""What a placement costs the ingress: the Ray request router with up to 1,024 replicas.

python benchmarks/router.py [--sizes 2,16,64,256,1024] [--decisions 2000] --output FILE

Replicas and board are made up, digests are those of random engines with 0 to 120 requests; router,
requests (ShareGPT's sizes, a forecast of 64 bins, promise and class in ``vllm_xargs``) and what is
counted are the real ones. Every decision is followed by ``on_request_routed``, as in Ray.
"""

import argparse
import asyncio
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from ray.serve._private.common import (
    DeploymentHandleSource,
    DeploymentID,
    ReplicaID,
    RequestMetadata,
)
from ray.serve._private.request_router.common import PendingRequest

from predictor.distribution import LengthDistribution, log_edges
from scheduler.latency import StepLatency
from scheduler.placement.digest import Digest
from scheduler.slo import Slo
from scheduler.snapshot import Limits
from scheduler.tracker import Arrival, Tracker
from scheduler.warmup import warm_up_placement
from serving.cluster.report import Heard, ReplicaReport
from serving.cluster.router import SloRequestRouter
from serving.xargs import encode

_DEPLOYMENT = DeploymentID(name="engines", app_name="slotwise")
_LATENCY = StepLatency.linear(step_s=6e-3, decode_s=1e-4, context_token_s=2e-9, prompt_token_s=2e-5)


def lengths(rng: np.random.Generator) -> LengthDistribution:
    """A forecast as the packaged predictor makes them."""
    edges = log_edges(max_tokens=2048, bins=64)
    return LengthDistribution(edges=edges, probabilities=rng.dirichlet(np.full(64, 0.5)))


def random_digest(rng: np.random.Generator) -> Digest:
    """Of an engine with 64 slots."""
    tracker = Tracker(limits=Limits(64, 2048, 400_000))
    for number in range(int(rng.integers(0, 121))):
        slo = Slo(e2e_s=30.0) if rng.random() < 0.5 else Slo(ttft_s=2.0, tpot_s=0.05)
        prompt = int(rng.integers(10, 2000))
        name = str(number)
        tracker.arrived(Arrival(name, float(rng.uniform(0, 5)), prompt, 2048, slo, lengths(rng)))
        if number < 64:
            tracker.scheduled({name: prompt})
            tracker.tokens({name: 1}, 5.0)
    return Digest.of(
        tracker.snapshot(now_s=6.0, latency=_LATENCY, kv_tokens_free=int(rng.integers(0, 400_000)))
    )


def request(rng: np.random.Generator, number: int) -> PendingRequest:
    """One as the ingress sends it."""
    slo = Slo(e2e_s=30.0) if number % 2 else Slo(ttft_s=2.0, tpot_s=0.05)
    words = "word " * int(np.clip(rng.lognormal(4.5, 1.2), 4, 3000))
    body = SimpleNamespace(
        messages=[{"role": "user", "content": f"{number % 50} {words}"}],
        vllm_xargs=encode(slo_class="chat", slo=slo, lengths=lengths(rng)),
    )
    metadata = RequestMetadata(request_id=str(number), internal_request_id=str(number))
    return PendingRequest(args=[body], kwargs={}, metadata=metadata)


async def measured(size: int, decisions: int, rng: np.random.Generator) -> dict[str, float]:
    """Times of ``choose_replicas`` and of ``on_request_routed``, in microseconds."""
    router = SloRequestRouter(_DEPLOYMENT, DeploymentHandleSource.REPLICA)
    router.initialize_state(stale_s=1e6)
    router._poll = lambda: None  # type: ignore[method-assign]
    names = [f"replica-{number}" for number in range(size)]
    replicas = [SimpleNamespace(replica_id=ReplicaID(name, _DEPLOYMENT)) for name in names]

    def hear(rank: int) -> None:
        report = ReplicaReport(
            names[rank], rank, "m", digest=kinds[int(rng.integers(len(kinds)))].to_bytes()
        )
        router._hear(Heard(report, 0.05, 0.0), time.monotonic())

    kinds = [random_digest(rng) for _ in range(64)]
    for rank in range(size):
        hear(rank)
    choose_s, routed_s, hear_s = [], [], []
    for number in range(decisions):
        pending = request(rng, number)
        began_s = time.perf_counter()
        ranks = await router.choose_replicas(replicas, pending)
        choose_s.append(time.perf_counter() - began_s)
        began_s = time.perf_counter()
        router.on_request_routed(pending, ranks[0][0].replica_id, None)
        routed_s.append(time.perf_counter() - began_s)
        began_s = time.perf_counter()
        hear(int(rng.integers(size)))
        hear_s.append(time.perf_counter() - began_s)
    return {
        f"{name}_{quantile}": float(np.percentile(np.array(times) * 1e6, int(quantile[1:])))
        for name, times in (("choose", choose_s), ("routed", routed_s), ("hear", hear_s))
        for quantile in ("p50", "p99")
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sizes", default="2,16,64,256,1024")
    parser.add_argument("--decisions", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    a = parser.parse_args()
    warm_up_placement()
    found: dict[str, Any] = {}
    for size in map(int, a.sizes.split(",")):
        rng = np.random.default_rng(a.seed)
        found[str(size)] = asyncio.run(measured(size, a.decisions, rng))
        print(size, json.dumps(found[str(size)]), flush=True)
    document = {"config": {**vars(a), "output": a.output.name}, "microseconds": found}
    a.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
