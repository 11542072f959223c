"""How fast the sidecar answers: /predict, /predict/bulk and /schedule, and what bounds it.

python benchmarks/sidecar.py --predictor FOLDER [--seconds 8] [--connections 8] [--output FILE]

Starts `slotwise sidecar` with its defaults on a free port and asks it from this process, over
connections that stay open: /predict at a fixed rate (latency counts from the moment a request was
due) and as fast as it goes; /predict/bulk of 100 prompts; /schedule with one engine of 16 slots
taken and 256 requests that wait, half code, half chat, log-normal forecasts. The same with a
predictor that costs next to nothing (class histories), which is what the rest costs. The client
shares the cores with the server. `server_cpu_ms` is the processor time of the server and its
predictor processes for each request, which other work on the machine hardly changes.
"""

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httptools
import numpy as np
import orjson
from rich.console import Console
from rich.table import Table
from scipy.stats import norm

from predictor.distribution import LengthDistribution, log_edges
from predictor.history import HistoryPredictor
from predictor.prompt import Prompt
from serving.prediction.forecast import compact

BULK = 100
WAITING, SLOTS = 256, 16
RATE_RPS = 1000.0
_WORDS = (
    "write a function that explains how the sea moves in python list of steps please for each "
    "item in the table and why does this error happen with my code summarize text below"
)


class Connection(asyncio.Protocol):
    """One HTTP connection, one request at a time; the least that a client can cost."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._done: asyncio.Future[int] | None = None
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way out."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Tell who waits."""
        assert self._done is not None
        status = self._parser.get_status_code()
        self._parser = httptools.HttpResponseParser(self)
        self._done.set_result(status)

    async def post(self, request: bytes) -> None:
        """Send and wait for the answer."""
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        status = await self._done
        if status != 200:
            raise SystemExit(f"the sidecar answered {status}")

    def close(self) -> None:
        """Hang up."""
        self._transport.close()


def request(path: str, content: Any) -> bytes:
    body = orjson.dumps(content)
    head = (
        f"POST {path} HTTP/1.1\r\nhost: sidecar\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def prompts(count: int, seed: int) -> list[dict[str, Any]]:
    """Made-up prompts of 10 to 200 words, half code, half chat."""
    rng = np.random.default_rng(seed)
    words = _WORDS.split()
    return [
        {
            "prompt": " ".join(
                rng.choice(words, int(np.exp(rng.uniform(np.log(10), np.log(200)))))
            ),
            "slo_class": "code" if number % 2 else "chat",
            "max_tokens": 2048,
        }
        for number in range(count)
    ]


def forecast(rng: np.random.Generator) -> LengthDistribution:
    """Log-normal, sigma 1 about a median of its own (sigma 1 about 180 tokens)."""
    edges = log_edges(2048, 48)
    cdf = norm.cdf(np.log(np.maximum(edges, 1e-3)) - rng.normal(5.2, 1.0))
    cdf[0], cdf[-1] = 0.0, 1.0
    return LengthDistribution.from_cdf(edges, cdf)


def snapshot(seed: int) -> dict[str, Any]:
    """An engine with every slot taken."""
    rng = np.random.default_rng(seed)
    requests = []
    for number in range(SLOTS + WAITING):
        runs = number < SLOTS
        waited_ms = float(rng.uniform(100, 9000)) + 3000.0 * runs
        requests.append(
            {
                "id": f"{seed}-{number}",
                "state": "running" if runs else "waiting",
                "slo_class": "code" if number % 2 else "chat",
                "waited_ms": waited_ms,
                "prompt_tokens": int(rng.integers(20, 800)),
                "max_tokens": 2048,
                "generated": int(rng.integers(1, 200)) if runs else 0,
                "first_token_ms": 200.0 if runs else None,
                "lengths": compact(forecast(rng)),
            }
        )
    engine = {
        "name": f"engine-{seed % 4}",
        "max_num_seqs": SLOTS,
        "engine_profile": "h100-llama-3.1-8b",
        "requests": requests,
    }
    return {"instances": [engine]}


def percentiles_ms(seconds: list[float]) -> dict[str, float]:
    values = 1e3 * np.array(seconds)
    found = {f"p{q}_ms": float(np.percentile(values, q)) for q in (50, 90, 99)}
    return {"mean_ms": float(values.mean()), **found}


async def closed(
    connections: list[Connection], requests: list[bytes], seconds: float
) -> dict[str, float]:
    """As fast as it goes: every connection asks again as soon as it was answered."""
    taken: list[float] = []
    end_s = time.perf_counter() + seconds

    async def ask(connection: Connection, first: int) -> None:
        turn = first
        while (began_s := time.perf_counter()) < end_s:
            await connection.post(requests[turn % len(requests)])
            taken.append(time.perf_counter() - began_s)
            turn += len(connections)

    began_s = time.perf_counter()
    await asyncio.gather(*(ask(each, number) for number, each in enumerate(connections)))
    spent_s = time.perf_counter() - began_s
    return {"requests": len(taken), "requests_per_s": len(taken) / spent_s, **percentiles_ms(taken)}


async def at_rate(
    connections: list[Connection], requests: list[bytes], seconds: float, rate_rps: float
) -> dict[str, float]:
    """Poisson arrivals; a request waits for a free connection, and that counts."""
    rng = np.random.default_rng(0)
    due = np.cumsum(rng.exponential(1 / rate_rps, int(rate_rps * seconds)))
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for connection in connections:
        free.put_nowait(connection)
    taken: list[float] = []
    began_s = time.perf_counter()

    async def one(number: int, due_s: float) -> None:
        connection = await free.get()
        await connection.post(requests[number % len(requests)])
        taken.append(time.perf_counter() - began_s - due_s)
        free.put_nowait(connection)

    tasks = []
    for number, due_s in enumerate(due.tolist()):
        while (wait_s := began_s + due_s - time.perf_counter()) > 0:
            await asyncio.sleep(wait_s)
        tasks.append(asyncio.create_task(one(number, due_s)))
    await asyncio.gather(*tasks)
    spent_s = time.perf_counter() - began_s
    return {"requests": len(taken), "requests_per_s": len(taken) / spent_s, **percentiles_ms(taken)}


def cpu_s(process: int) -> float:
    """User and system time of a process and its children, by the kernel's books (Linux)."""
    total = 0.0
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if process in (int(status.parent.name), int(fields[1])):
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


async def measure(port: int, process: int, seconds: float, count: int) -> dict[str, Any]:
    loop = asyncio.get_running_loop()

    async def connected(many: int) -> list[Connection]:
        made = [loop.create_connection(Connection, "127.0.0.1", port) for _ in range(many)]
        return [connection for _, connection in await asyncio.gather(*made)]

    several, one = await connected(count), await connected(1)
    singles = [request("/predict", each) for each in prompts(500, 1)]
    bulks = [request("/predict/bulk", {"prompts": prompts(BULK, seed)}) for seed in range(20)]
    snapshots = [request("/schedule", snapshot(seed)) for seed in range(40)]
    await closed(several, [*singles[:50], *bulks[:2], *snapshots[:4]], 2.0)  # warm up
    runs: dict[str, Callable[[], Awaitable[dict[str, float]]]] = {
        "predict_at_1000_rps": lambda: at_rate(several, singles, seconds, RATE_RPS),
        "predict": lambda: closed(several, singles, seconds),
        "predict_one_at_a_time": lambda: closed(one, singles, seconds),
        "predict_bulk": lambda: closed(several[:2], bulks, seconds),
        "schedule": lambda: closed(one, snapshots, seconds),
    }
    found: dict[str, Any] = {}
    for name, run in runs.items():
        before_s = cpu_s(process)
        found[name] = await run()
        asked = found[name].pop("requests")
        found[name]["server_cpu_ms"] = 1e3 * (cpu_s(process) - before_s) / asked
    found["predict_bulk"]["prompts_per_s"] = BULK * found["predict_bulk"]["requests_per_s"]
    for connection in (*several, *one):
        connection.close()
    return found


@contextmanager
def sidecar(predictor: Path, folder: Path) -> Iterator[tuple[int, int]]:
    """A sidecar with its defaults; yields its port and process."""
    environment = {
        **os.environ,
        "SLOTWISE_PORT": "0",
        "SLOTWISE_PREDICTOR": str(predictor),
        "SLOTWISE_DATABASE_URL": f"sqlite:///{folder / 'observations.db'}",
        "SLOTWISE_SPOOL": str(folder / "spool"),
        "SLOTWISE_LOG_LEVEL": "info",
    }
    process = subprocess.Popen(
        [sys.executable, "-c", "from serving.cli import main; main()", "sidecar"],
        env=environment, stderr=(log := (folder / "log").open("w")),
    )  # fmt: skip
    try:
        yield listening(folder / "log", process), process.pid
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def listening(log: Path, process: "subprocess.Popen[bytes]") -> int:
    """Wait for the line that says it has started."""
    deadline_s = time.monotonic() + 180
    while time.monotonic() < deadline_s and process.poll() is None:
        text = log.read_text(encoding="utf-8")
        if "startup complete" in text:
            lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
            return int(next(line["port"] for line in lines if "port" in line))
        time.sleep(0.1)
    raise SystemExit(f"the sidecar did not start:\n{log.read_text(encoding='utf-8')}")


def history(folder: Path) -> Path:
    known = [Prompt("", "chat"), Prompt("", "code")] * 200
    lengths = np.random.default_rng(0).lognormal(5, 1, len(known)).astype(int) + 1
    HistoryPredictor.fit(known, lengths).save_pretrained(folder / "history")
    return folder / "history"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--predictor", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    found, load = {}, {"before": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("predictor", "history"):
            folder = Path(scratch) / name
            folder.mkdir()
            used = arguments.predictor if name == "predictor" else history(folder)
            with sidecar(used, folder) as (port, process):
                found[name] = asyncio.run(
                    measure(port, process, arguments.seconds, arguments.connections)
                )
    load["after"] = os.getloadavg()[0]
    table = Table("model", "asked", "per second", "p50", "p99 ms", "server CPU ms")
    for name, figures in found.items():
        for asked, row in figures.items():
            rate = row.get("prompts_per_s", row["requests_per_s"])
            table.add_row(
                name, asked, f"{rate:.0f}", f"{row['p50_ms']:.2f}", f"{row['p99_ms']:.2f}"
            )
    Console(width=100).print(table)
    if arguments.output:
        machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "load_1min": load}
        document = {
            "machine": machine, "seconds": arguments.seconds,
            "connections": arguments.connections, "models": found,
        }  # fmt: skip
        arguments.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
