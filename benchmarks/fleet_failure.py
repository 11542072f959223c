"""One of two real replicas killed under load: what becomes of every request, and for how long.

python -m benchmarks.fleet_failure [--rate RPS] [--num-prompts 80] [--kill-at 20] [--tokens 80]
    --output FILE

Poisson arrivals at the rate that the fleet answers when kept full (measured first), half streamed,
half answered in one piece, every answer of so many tokens. A replica's process is killed (SIGKILL)
so many seconds into the replay. Lost is a request without an answer or an error; duplicated one
with more tokens than it asked for. The fleet is whole again when both replicas are well, and has
recovered when both have a latency model, too, for which one request after another is sent from
then on.
"""

import argparse
import asyncio
import json
import os
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from rich.console import Console

from serving.cluster.config import cluster_config
from serving.cluster.connection import connect

_MODEL = "smollm2"
# As many as both engines have slots for, twice.
_FULL = 64


@dataclass
class Outcome:
    """Of one request; times from the start of the replay."""

    number: int
    stream: bool
    sent_s: float
    ended_s: float = 0.0
    status: int = 0
    tokens: int = 0
    error: str | None = None
    whole: bool = False


async def ask(client: httpx.AsyncClient, outcome: Outcome, tokens: int) -> None:
    """Send it and note what comes."""
    body = {
        "model": _MODEL,
        "messages": [{"role": "user", "content": f"Tell me a story, number {outcome.number}"}],
        "stream": outcome.stream,
        "max_tokens": tokens,
        "ignore_eos": True,
    }
    if outcome.stream:
        body["stream_options"] = {"include_usage": True}
    try:
        async with client.stream("POST", "/v1/chat/completions", json=body) as response:
            outcome.status = response.status_code
            if outcome.stream:
                async for line in response.aiter_lines():
                    _event(outcome, line)
            else:
                document = json.loads(await response.aread())
                outcome.tokens = document.get("usage", {}).get("completion_tokens", 0)
                outcome.whole = outcome.status == 200
    except httpx.HTTPError as error:
        outcome.error = f"{type(error).__name__}: {error}"


def _event(outcome: Outcome, line: str) -> None:
    if line == "data: [DONE]":
        outcome.whole = outcome.error is None
    elif line.startswith("data: {"):
        event = json.loads(line[6:])
        if "error" in event:
            outcome.error = event["error"]["message"]
        if event.get("usage"):
            outcome.tokens = event["usage"]["completion_tokens"]


def victim() -> psutil.Process:
    """A replica with an engine, of those that this process's Ray runs."""
    return next(
        child
        for child in psutil.Process().children(recursive=True)
        if "SlotwiseServer" in " ".join(child.cmdline()) and child.children()
    )


async def total(client: httpx.AsyncClient, name: str) -> int:
    """The sum of a metric over the fleet."""
    text = (await client.get("/slotwise/metrics")).text
    return int(sum(float(li.split()[-1]) for li in text.splitlines() if li.startswith(name)))


async def well(client: httpx.AsyncClient) -> int:
    """Replicas that are well."""
    return await total(client, "slotwise_replica_healthy")


async def trained(client: httpx.AsyncClient) -> int:
    """Replicas that have a latency model, and so a digest."""
    return await total(client, "slotwise_latency_model_trained")


async def full_rate(client: httpx.AsyncClient, tokens: int) -> float:
    """Requests a second that the fleet answers while it is kept full."""
    began_s = time.monotonic()
    some = [Outcome(-k, False, 0.0) for k in range(_FULL)]
    await asyncio.gather(*(ask(client, each, tokens) for each in some))
    return sum(each.whole for each in some) / (time.monotonic() - began_s)


async def measured(url: str, a: argparse.Namespace) -> dict[str, Any]:
    """The replay, the kill and the recovery."""
    outcomes: list[Outcome] = []
    async with httpx.AsyncClient(base_url=url, timeout=600, trust_env=False) as client:
        # Both engines learn their step times first.
        while await trained(client) < 2:
            some = [Outcome(-k, False, 0.0) for k in range(8)]
            await asyncio.gather(*(ask(client, each, 32) for each in some))
        rate = a.rate or await full_rate(client, a.tokens)
        rng = np.random.default_rng(a.seed)
        at_s = np.cumsum(rng.exponential(1 / rate, a.num_prompts))
        began_s = time.monotonic()

        async def one(number: int) -> None:
            await asyncio.sleep(at_s[number] - (time.monotonic() - began_s))
            outcome = Outcome(number, bool(number % 2), time.monotonic() - began_s)
            outcomes.append(outcome)
            await ask(client, outcome, a.tokens)
            outcome.ended_s = time.monotonic() - began_s

        async def kill() -> tuple[float, float]:
            await asyncio.sleep(a.kill_at)
            os.kill(victim().pid, signal.SIGKILL)
            killed_s = time.monotonic()
            # A replica that died is known for it after five seconds of silence.
            await asyncio.sleep(7)
            while await well(client) < 2:
                await asyncio.sleep(0.5)
            whole_s = time.monotonic() - killed_s
            while await trained(client) < 2:
                await ask(client, Outcome(-1, False, 0.0), 32)
            return whole_s, time.monotonic() - killed_s

        killing = asyncio.create_task(kill())
        await asyncio.gather(*(one(n) for n in range(a.num_prompts)))
        whole_s, recovered_s = await killing
        replaced = await total(client, "slotwise_replaced_requests_total")
    return {
        "rate_rps": rate,
        "requests": len(outcomes),
        "answered": sum(o.whole for o in outcomes),
        "streams_broken": sum(o.stream and not o.whole for o in outcomes),
        "wholes_failed": sum(not o.stream and not o.whole for o in outcomes),
        "lost": sum(not o.whole and o.error is None for o in outcomes),
        "duplicated": sum(o.tokens > a.tokens for o in outcomes),
        "placed_anew": replaced,
        "whole_again_s": whole_s,
        "recovered_s": recovered_s,
        "outcomes": [asdict(o) for o in sorted(outcomes, key=lambda o: o.number)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rate", type=float, help="requests/s; default: what it carries")
    parser.add_argument("--num-prompts", type=int, default=80)
    parser.add_argument("--kill-at", type=float, default=20.0)
    parser.add_argument("--tokens", type=int, default=80)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--port", type=int, default=8128)
    parser.add_argument("--output", type=Path, required=True)
    a = parser.parse_args()
    os.environ.setdefault("SLOTWISE_DATABASE_URL", f"sqlite:///{a.output.resolve()}.db")
    config = cluster_config({"model": _MODEL, "replicas": 2, "accelerator": "cpu"})
    with connect(None, cpus=config.cpus):
        from serving.cluster.serve import Door, fleet  # noqa: PLC0415 - after Ray's start

        door = Door("127.0.0.1", a.port)
        with fleet(config, door, console=Console(), timeout_s=600):
            found = asyncio.run(measured(door.url, a))
    print(json.dumps({k: v for k, v in found.items() if k != "outcomes"}))
    document = {"config": {**vars(a), "output": a.output.name}, **found}
    a.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
