"""``examples/sidecar.py``, both its halves."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from waiting import wait_until

from serving.engine.config import free_port

pytest.importorskip("fastapi", reason="the sidecar is not installed (extra: serving)")

ROOT = Path(__file__).parents[2]


def test_it_serves_and_it_asks(run, tmp_path):
    variables = {
        "SLOTWISE_PORT": str(free_port()),
        "SLOTWISE_DATABASE_URL": f"sqlite:///{tmp_path / 'observations.db'}",
        "SLOTWISE_SPOOL": str(tmp_path / "spool"),
        "SLOTWISE_PREDICT_DEADLINE_MS": "10000",
        "SLOTWISE_TIME_BOX_MS": "10000",
    }
    url = f"http://127.0.0.1:{variables['SLOTWISE_PORT']}/readyz"

    def ready():
        try:
            return httpx.get(url).status_code == 200
        except httpx.TransportError:
            return False

    command = [sys.executable, str(ROOT / "examples/sidecar.py"), "serve"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as server:
        try:
            wait_until(ready, alive=lambda: server.poll() is None, what="the sidecar")
            printed = run("examples/sidecar.py", "ask", "Write a haiku.", **variables)
        finally:
            server.send_signal(signal.SIGINT)
    assert "'Write a haiku.': 90 % of such outputs have at most" in printed
    assert {line.split(":")[0] for line in printed.splitlines()[1:]} == {"yours", "short"}
