"""The sidecar as a process: killed, out of disk, over its limits, with vanishing clients."""

import concurrent.futures
import json
import os
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx
import psutil
import pytest
from sidecars import ROOT

ROW = {"slo_class": "chat", "output_tokens": 9, "ttft_ms": 5, "e2e_ms": 50}


def observe_until_it_dies(url: str, acknowledged: list[str], stop: threading.Event) -> None:
    with httpx.Client(base_url=url, timeout=10) as client:
        while not stop.is_set():
            try:
                answer = client.post("/observations", json={"observations": [ROW] * 3})
            except httpx.HTTPError:
                return
            if answer.status_code == 202:
                acknowledged += answer.json()["ids"]


def stored(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {row[0] for row in connection.execute("SELECT id FROM observations")}


def test_what_was_acknowledged_survives_kill_9(start, tmp_path):
    """Killed three times in the middle of a load; every id it acknowledged is there."""
    acknowledged: list[str] = []
    for turn in range(3):
        sidecar = start()
        stop = threading.Event()
        threads = [
            threading.Thread(target=observe_until_it_dies, args=(sidecar.url, acknowledged, stop))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        before = len(acknowledged)
        while len(acknowledged) < before + 60 * (turn + 1):
            time.sleep(0.005)
        os.kill(sidecar.process.pid, signal.SIGKILL)
        stop.set()
        for thread in threads:
            thread.join(30)
    assert len(acknowledged) >= 360
    assert set(acknowledged) <= stored(tmp_path / "observations.db")


def test_a_quota_on_the_disk(tmp_path):
    """No file may grow beyond 400 kB: observations are refused and counted, the rest goes on."""
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000)); "
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "import sys; sys.dont_write_bytecode = True; "
        "import pathlib, threading, time, httpx, uvicorn; from serving.settings import Settings; "
        "from serving.sidecar.app import create_app; folder = pathlib.Path(sys.argv[1]); "
        "url = f'sqlite:///{folder}/o.db'; "
        "app = create_app(Settings(database_url=url, spool=folder / 'spool')); "
        "uvicorn.run(app, port=int(sys.argv[2]), log_level='error')"
    )
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), str(port)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            wait_until(lambda: serves(client))
            statuses = []
            kept: list[str] = []
            rows = [{**ROW, "lengths": [*range(201), *[0.005] * 200]}] * 50
            for _ in range(60):
                answer = client.post("/observations", json={"observations": rows})
                statuses.append(answer.status_code)
                if answer.status_code == 202:
                    kept += answer.json()["ids"]
            assert set(statuses) == {202, 503}
            assert statuses[-1] == 503
            assert client.post("/predict", json={"prompt": "a"}).status_code == 200
            lost = f'slotwise_observations_total{{outcome="dropped"}} {50.0 * statuses.count(503)}'
            assert lost in client.get("/metrics").text
    finally:
        process.kill()
        process.wait(30)
    spooled = tmp_path / "spool"
    lines = spooled.read_text().splitlines() if spooled.exists() else []
    found = stored(tmp_path / "o.db") | {json.loads(line)["id"] for line in lines}
    assert set(kept) <= found


def wait_until(true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


def serves(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").is_success
    except httpx.HTTPError:
        return False


def test_ten_thousand_connections_where_a_thousand_are_served(start):
    """Each is served or told 503; afterwards it serves as before, and has let go of all."""
    room, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    sidecar = start(SLOTWISE_MAX_CONCURRENCY="1000")
    process = psutil.Process(sidecar.process.pid)
    files = process.num_fds()
    host, port = sidecar.url.removeprefix("http://").split(":")
    many = min(10_000, room - 500)
    idle = [socket.create_connection((host, int(port)), timeout=60) for _ in range(many)]
    wait_until(lambda: process.num_fds() >= files + many)
    request = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    statuses = set()
    for connection in idle[::50]:
        connection.sendall(request)
        statuses.add(connection.recv(4096).split(b" ")[1])
    assert statuses == {b"503"}
    for connection in idle:
        connection.close()
    with sidecar.client() as client:
        wait_until(lambda: serves(client))
    wait_until(lambda: process.num_fds() <= files + 10)


def test_clients_that_go_away_cost_nothing(start):
    sidecar = start()
    host, port = sidecar.url.removeprefix("http://").split(":")
    head = (
        b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        b"Content-Length: 999\r\n\r\n"
    )
    for _ in range(50):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(head + b'{"prompt"')
    with sidecar.client() as client:
        assert client.post("/predict", json={"prompt": "a"}).status_code == 200
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            found = list(
                pool.map(
                    lambda _: client.post("/predict", json={"prompt": "a"}).status_code, range(100)
                )
            )
        assert set(found) == {200}
    assert sidecar.stop() in (0, -signal.SIGINT, 130)
    assert not [line for line in sidecar.log if isinstance(line, str) and "Traceback" in line]


def test_logs_are_json_with_request_ids_and_no_prompts(start, predictor):
    sidecar = start(SLOTWISE_PREDICTOR=str(predictor))
    with sidecar.client() as client:
        client.post("/predict", json={"prompt": "do not log me"}, headers={"x-request-id": "id-7"})
        client.post("/predict", json={"prompt": "do not log me", "max_tokens": "nor me"})
    sidecar.stop()
    lines = [line for line in sidecar.log if isinstance(line, dict)]
    (line,) = [line for line in lines if line.get("request_id") == "id-7"]
    assert (line["route"], line["status"], line["method"]) == ("/predict", 200, "POST")
    assert line["ms"] > 0
    assert "log me" not in json.dumps(sidecar.log)
    assert "nor me" not in json.dumps(sidecar.log)


@pytest.mark.parametrize(
    ("arguments", "variables", "words"),
    [
        (["--policy", "fcsf"], {}, "fcfs"),
        (["--host", "203.0.113.1"], {}, "cannot listen"),
        (["--slo-config", "/nonexistent.yaml"], {}, "no such file"),
        ([], {"SLOTWISE_PROT": "1"}, "SLOTWISE_PORT"),
        (["--database-url", "mysql://h/d"], {}, "PostgreSQL"),
    ],
)
def test_what_is_wrong_at_the_start_is_said_at_the_start(tmp_path, arguments, variables, words):
    done = subprocess.run(
        [sys.executable, "-c", "from serving.cli import main; main()", "sidecar", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_DATA_HOME": str(tmp_path), **variables},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_config_show_and_check(tmp_path):
    def slotwise(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from serving.cli import main; main()", *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **variables},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    shown = slotwise("config", "show", SLOTWISE_API_TOKEN="correct horse", SLOTWISE_PORT="9")
    assert shown.returncode == 0
    assert "SLOTWISE_PORT" in shown.stdout
    assert "correct horse" not in shown.stdout
    file = tmp_path / "s.yaml"
    file.write_text("port: 9\n")
    checked = slotwise("config", "check", "--config", str(file))
    assert checked.returncode == 0
    assert "1 settings differ" in checked.stdout
    file.write_text("prot: 9\n")
    refused = slotwise("config", "check", "--config", str(file))
    assert refused.returncode == 1
    assert "did you mean 'port'" in refused.stderr
