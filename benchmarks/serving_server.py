"""A server of ours for a benchmark: `slotwise serve` in a process group of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

_START_S = 300.0
_END_S = 30.0


@dataclass(frozen=True, slots=True)
class Server:
    """One that answers; ``pid`` is vLLM's API server, whose children are its engine."""

    base_url: str
    pid: int


@contextmanager
def server(model: str, *flags: str, log: Path, mode: str) -> Iterator[Server]:
    """Start one on a free port, wait until it is well, and end it afterwards."""
    port = _free_port()
    command = [
        *(sys.executable, "-c", "from serving.cli import main; main()", "serve", model),
        *("--mode", mode, "--port", str(port), *flags),
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=_environment(log.parent, mode)
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(url, process, log)
        yield Server(url, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _environment(folder: Path, mode: str) -> dict[str, str]:
    return {
        # vLLM for CPUs takes nearly all memory otherwise.
        "VLLM_CPU_KVCACHE_SPACE": "1",
        **os.environ,
        "SLOTWISE_DATABASE_URL": f"sqlite:///{folder / f'observations-{mode}.db'}",
        "SLOTWISE_SPOOL": str(folder / f"spool-{mode}"),
    }


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until_s = time.monotonic() + _START_S
    with httpx.Client(base_url=url, timeout=5.0, trust_env=False) as client:
        while process.poll() is None and time.monotonic() < until_s:
            try:
                if client.get("/health").is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.5)
    sys.exit(f"the server did not start; its log is {log}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
