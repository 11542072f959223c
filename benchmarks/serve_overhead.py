"""What the whole of Slotwise adds to a request when nothing is queued.

python -m benchmarks.serve_overhead MODEL --predictor FOLDER [--requests 120] [--output FILE]

Two servers stand side by side, `slotwise serve --mode off` (vLLM alone) and `--mode active`
(middleware, prediction, scheduler). Each prompt goes to both, one after the other, in random
order, and nothing else runs meanwhile, so that what the machine does otherwise falls on both. Time
to first token, time per token and latency are as the client sees them; the ratios are of the means,
with 95 % intervals by bootstrap over prompts.
"""

import argparse
import asyncio
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.serving_server import server
from serving.bench.client import StreamMeter, ask, open_client

TEXT = (
    "write a function that explains how the sea moves in python list of steps please for each "
    "item in the table and why does this error happen with my code summarize text below"
)
MODES = ("off", "active")
WARM_UP = 8


def prompts(count: int, seed: int) -> list[str]:
    """Of 10 to 200 words."""
    rng = np.random.default_rng(seed)
    words = TEXT.split()
    return [" ".join(rng.choice(words, rng.integers(10, 201))) for _ in range(count)]


def body(prompt: str, model: str, tokens: int) -> bytes:
    return json.dumps(
        {
            "model": model,
            "messages": [{"role": "user", "content": prompt}],
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": 0,
            "max_tokens": tokens,
            "min_tokens": tokens,
            "ignore_eos": True,
        }
    ).encode()


async def measure(urls: list[str], arguments: argparse.Namespace) -> Any:
    """float64[modes, requests, (ttft, tpot, e2e)] in seconds."""
    rng = np.random.default_rng(arguments.seed)
    found = np.empty((len(MODES), arguments.requests, 3))
    asked = prompts(WARM_UP + arguments.requests, arguments.seed)
    clients = [open_client(url) for url in urls]
    for number, prompt in enumerate(track(asked, description="prompts")):
        for mode in rng.permutation(len(MODES)):
            meter, began_s = StreamMeter(), time.monotonic()
            answer = await ask(
                clients[mode],
                body(prompt, arguments.model, arguments.tokens),
                request_id=f"{MODES[mode]}-{number}",
                meter=meter,
                on_first_token=lambda: None,
            )
            if answer.status != "ok" or meter.first_s is None or meter.last_s is None:
                raise SystemExit(f"{MODES[mode]}: {answer}")
            if number >= WARM_UP:
                ttft_s, e2e_s = meter.first_s - began_s, meter.last_s - began_s
                tpot_s = (e2e_s - ttft_s) / (arguments.tokens - 1)
                found[mode, number - WARM_UP] = ttft_s, tpot_s, e2e_s
    for client in clients:
        await client.aclose()
    return found


def added(found: Any) -> dict[str, dict[str, Any]]:
    """Means of both, and by how much the second is longer, with an interval."""
    rng = np.random.default_rng(0)
    count = found.shape[1]
    picks = rng.integers(0, count, (4000, count))
    result = {}
    for column, name in enumerate(("ttft", "tpot", "e2e")):
        off, active = found[:, :, column]
        ratios = active[picks].mean(axis=1) / off[picks].mean(axis=1) - 1.0
        result[name] = {
            "off_ms": float(off.mean() * 1e3),
            "active_ms": float(active.mean() * 1e3),
            "added": float(active.mean() / off.mean() - 1.0),
            "added_interval_95": [float(np.percentile(ratios, q)) for q in (2.5, 97.5)],
            "added_ms_median": float(np.median(active - off) * 1e3),
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--predictor", type=Path)
    parser.add_argument("--requests", type=int, default=120)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    flags = ("--max-model-len", "2048", "--served-model-name", arguments.model)
    ours = ("--predictor", str(arguments.predictor)) if arguments.predictor else ()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            server(arguments.model, *flags, log=folder / "off.log", mode="off") as stock,
            server(arguments.model, *ours, *flags, log=folder / "on.log", mode="active") as active,
        ):
            urls = [stock.base_url, active.base_url]
            found = added(asyncio.run(measure(urls, arguments)))
    table = Table("", "vLLM alone", "with Slotwise", "added", "95 %")
    for name, row in found.items():
        low, high = row["added_interval_95"]
        table.add_row(
            name,
            f"{row['off_ms']:.1f} ms",
            f"{row['active_ms']:.1f} ms",
            f"{row['added']:+.1%} (median {row['added_ms_median']:+.2f} ms)",
            f"{low:+.1%} to {high:+.1%}",
        )
    Console().print(table)
    if arguments.output:
        document = {
            "machine": {"cpus": os.cpu_count(), "python": platform.python_version()},
            "config": {k: str(v) for k, v in vars(arguments).items() if k != "output"},
            "figures": found,
        }
        arguments.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
