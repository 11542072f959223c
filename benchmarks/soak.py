"""Half an hour of overload and ill treatment: nothing may be lost, nothing may leak.

python -m benchmarks.soak MODEL --predictor FOLDER [--minutes 30] [--output FILE]

`slotwise serve` is first asked by as many clients as it has slots, for a minute, which says what it
carries; then requests come at 1.2 times that rate, Poisson. Of them 10 % go away before their
answer is complete, 5 % read it slowly, 5 % have a body that is no request or a header that means
nothing; whoever has no answer after two minutes goes away, too. A predictor process is killed every
minute. *Clean* is an answer in full, or an error in OpenAI's shape; anything else counts as lost.
Resident memory is that of the server, its engine and the predictor together, sampled every five
seconds; its growth is that of the median of the last fifth over the median of the second.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.serving_server import Server, server
from serving.bench.client import StreamMeter, ask, open_client

OVERLOAD = 1.2
PROBE_S = 60.0
PATIENCE_S = 120.0
KILL_EVERY_S = 60.0
SAMPLE_EVERY_S = 5.0
SLOTS = 16
KINDS = {"plain": 0.8, "leaves": 0.1, "slow": 0.05, "broken": 0.05}
GOOD = b'{"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}'
BROKEN: tuple[tuple[bytes, dict[str, str]], ...] = (
    (b"", {}),
    (b"{", {}),
    (b"[" * 5000, {}),
    (b'{"messages": 5}', {}),
    (b'\xff\xfe{"messages": []}', {}),
    (b'{"model": "m", "messages": [], "vllm_xargs": {"slotwise_lengths": "nan"}}', {}),
    (b'{"messages": [{"role": "user", "content": "hi"}]}', {"x-slo-ttft-ms": "-5"}),
    (
        b'{"messages": [{"role": "user", "content": "hi"}]}',
        {"x-llm-d-inference-objective": "none" * 200},
    ),
)
TEXT = "why does the sea move and how would a function in python list each step of it"


@dataclass(slots=True)
class Soak:
    """One run; ``ends`` counts how requests ended, by kind."""

    served: Server
    model: str
    rng: random.Random
    ends: Counter[str] = field(default_factory=Counter)
    losses: list[str] = field(default_factory=list)
    kills: int = 0
    rss_mib: list[tuple[float, float]] = field(default_factory=list)

    def body(self) -> bytes:
        """A request for 20 to 160 tokens."""
        tokens = self.rng.randint(20, 160)
        text = " ".join(self.rng.choices(TEXT.split(), k=30))
        return json.dumps(
            {
                "model": self.model,
                "messages": [{"role": "user", "content": text}],
                "stream": True,
                "stream_options": {"include_usage": True},
                "max_tokens": tokens,
                "min_tokens": tokens,
                "ignore_eos": True,
            }
        ).encode()

    async def capacity_rps(self, client: httpx.AsyncClient) -> float:
        """Requests a second with all slots taken."""
        done = 0
        until_s = time.monotonic() + PROBE_S

        async def asks() -> None:
            nonlocal done
            while time.monotonic() < until_s:
                await self._plain(client)
                done += 1

        await asyncio.gather(*(asks() for _ in range(SLOTS)))
        return done / PROBE_S

    async def load(self, client: httpx.AsyncClient, rate_rps: float, seconds: float) -> None:
        """Send requests of all kinds; return when the last of them has ended."""
        until_s = time.monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            while time.monotonic() < until_s:
                (kind,) = self.rng.choices(list(KINDS), list(KINDS.values()))
                group.create_task(self._one(client, kind))
                await asyncio.sleep(self.rng.expovariate(rate_rps))

    async def _one(self, client: httpx.AsyncClient, kind: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                end = await getattr(self, f"_{kind}")(client)
        except TimeoutError:
            end = "gave up waiting"
        except (httpx.HTTPError, ValueError) as error:
            end = "lost"
            self.losses.append(f"{kind}: {error!r}")
        self.ends[f"{kind}: {end}"] += 1

    async def _plain(self, client: httpx.AsyncClient) -> str:
        meter = StreamMeter()
        answer = await ask(
            client, self.body(), request_id="", meter=meter, on_first_token=lambda: None
        )
        if answer.status == "failed":
            self.losses.append(f"plain: {answer.error}")
            return "lost"
        return answer.status

    async def _leaves(self, client: httpx.AsyncClient) -> str:
        try:
            async with asyncio.timeout(self.rng.uniform(0.05, 8.0)):
                return await self._plain(client)
        except TimeoutError:
            return "left"

    async def _slow(self, client: httpx.AsyncClient) -> str:
        async with client.stream("POST", "/v1/chat/completions", content=self.body()) as response:
            text = b""
            async for data in response.aiter_raw():
                text += data
                await asyncio.sleep(0.2)
        if response.status_code == httpx.codes.OK and b"[DONE]" not in text:
            self.losses.append(f"slow: ended with {text[-80:]!r}")
            return "lost"
        return "ok" if response.status_code == httpx.codes.OK else "refused"

    async def _broken(self, client: httpx.AsyncClient) -> str:
        body, headers = self.rng.choice(BROKEN)
        answer = await client.post(
            "/v1/chat/completions", content=body, headers=[(k, v) for k, v in headers.items()]
        )
        if answer.is_server_error:
            self.losses.append(f"broken: {answer.status_code} to {body[:60]!r} {headers}")
            return "lost"
        return "ok" if answer.is_success else "refused"

    async def kill_predictors(self) -> None:
        """Kill one of the predictor's processes every minute."""
        while True:
            await asyncio.sleep(KILL_EVERY_S)
            workers = [p for p in self._processes() if "serving.prediction" in _command(p)]
            if workers:
                workers[0].send_signal(signal.SIGKILL)
                self.kills += 1

    async def watch_memory(self) -> None:
        """Sample resident memory."""
        began_s = time.monotonic()
        while True:
            total = 0
            for process in self._processes():
                try:
                    total += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self.rss_mib.append((time.monotonic() - began_s, total / 2**20))
            await asyncio.sleep(SAMPLE_EVERY_S)

    def _processes(self) -> list[psutil.Process]:
        top = psutil.Process(self.served.pid)
        return [top, *top.children(recursive=True)]

    @property
    def growth(self) -> float:
        """Of the median of the last fifth over that of the second."""
        values = np.array([mib for _, mib in self.rss_mib])
        fifth = len(values) // 5
        return float(np.median(values[-fifth:]) / np.median(values[fifth : 2 * fifth]) - 1.0)


def _command(process: psutil.Process) -> str:
    """Of one that has just been killed: nothing."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


async def left_over(client: httpx.AsyncClient) -> dict[str, float]:
    """What vLLM and the scheduler still hold when all clients are gone."""
    await asyncio.sleep(10.0)
    text = (await client.get("/metrics")).text
    found = {}
    for line in text.splitlines():
        for name in ("vllm:num_requests_running", "vllm:num_requests_waiting"):
            if line.startswith(name + "{"):
                found[name] = float(line.rsplit(" ", 1)[1])
    return found


async def soak(served: Server, arguments: argparse.Namespace) -> dict[str, Any]:
    run = Soak(served, arguments.model, random.Random(arguments.seed))
    async with open_client(served.base_url) as client:
        carried = await run.capacity_rps(client)
        run.ends.clear()
        helpers = [asyncio.create_task(t) for t in (run.kill_predictors(), run.watch_memory())]
        with Progress() as bar:
            task = bar.add_task(
                f"{OVERLOAD * carried:.2f} requests/s", total=arguments.minutes * 60
            )
            load = asyncio.create_task(
                run.load(client, OVERLOAD * carried, arguments.minutes * 60.0)
            )
            while not load.done():
                await asyncio.sleep(1.0)
                bar.advance(task)
            await load
        for helper in helpers:
            helper.cancel()
        still = await left_over(client)
    return {
        "carried_rps": carried,
        "asked_rps": OVERLOAD * carried,
        "ends": dict(sorted(run.ends.items())),
        "lost": len(run.losses),
        "losses": run.losses[:20],
        "predictors_killed": run.kills,
        "memory_growth": run.growth,
        "memory_mib": [round(mib) for _, mib in run.rss_mib[::6]],
        "left_over": still,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--predictor", type=Path)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, help="where the server's output goes")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    flags = [
        *("--max-model-len", "2048", "--max-num-seqs", str(SLOTS)),
        *("--served-model-name", arguments.model),
    ]
    if arguments.predictor:
        flags += ["--predictor", str(arguments.predictor)]
    with tempfile.TemporaryDirectory() as name:
        log = Path(name) / "server.log"
        with server(arguments.model, *flags, log=log, mode="active") as served:
            found = asyncio.run(soak(served, arguments))
        if arguments.log:
            shutil.copy(log, arguments.log)
        found["tracebacks"] = log.read_text(encoding="utf-8", errors="replace").count("Traceback")
    table = Table("how it ended", "requests")
    for end, count in found["ends"].items():
        table.add_row(end, str(count))
    console = Console()
    console.print(table)
    console.print({k: v for k, v in found.items() if k not in ("ends", "memory_mib")})
    if arguments.output:
        document = {
            "machine": {"cpus": os.cpu_count(), "python": platform.python_version()},
            "minutes": arguments.minutes,
            "seed": arguments.seed,
            **found,
        }
        arguments.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
