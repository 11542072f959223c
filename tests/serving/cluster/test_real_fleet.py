"""A real fleet: Ray, two vLLM engines, an ingress; what is killed and what becomes of requests."""

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from importlib.resources import as_file, files

import httpx
import numpy as np
import psutil
import pytest
from waiting import HANG_S, wait_until

from serving.engine.config import free_port

pytest.importorskip("ray.serve.llm")
pytest.importorskip("vllm")
pytestmark = pytest.mark.engine

TOKENS = 120


class Fleet:
    """``slotwise cluster serve`` in a process of its own."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.predictor = folder / "predictor"
        with as_file(files("predictor") / "packaged") as packaged:
            shutil.copytree(packaged, self.predictor)
        self.log = (folder / "log").open("w+")
        settings = {
            "spool": folder / "spool",
            "predictor": self.predictor,
            "model_poll_s": 1,
            "predict_deadline_ms": 5000,
        }
        flags = [text for pair in settings.items() for text in ("--set", "{}={}".format(*pair))]
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-c", "from serving.cli import main; main()"),
                *("cluster", "serve", "smollm2", "--replicas", "2", "--port", str(self.port)),
                *flags,
            ],
            stdout=self.log,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                "SLOTWISE_DATABASE_URL": f"sqlite:///{folder / 'observations.db'}",
            },
        )

    def text(self):
        self.log.flush()
        return (self.folder / "log").read_text(encoding="utf-8")

    def wait(self):
        try:
            wait_until(
                lambda: "serving smollm2 at" in self.text(),
                alive=lambda: self.process.poll() is None,
                what="the start of the fleet",
            )
        except AssertionError:
            pytest.fail(self.text()[-3000:])

    def metrics(self):
        text = httpx.get(f"{self.url}/slotwise/metrics", timeout=HANG_S, trust_env=False).text
        lines = (line.rpartition(" ") for line in text.splitlines() if line[:1] not in "#")
        return {name: float(value) for name, _, value in lines}

    def replicas(self):
        """Replica processes that have an engine."""
        return [
            child
            for child in psutil.Process(self.process.pid).children(recursive=True)
            if "SlotwiseServer" in " ".join(child.cmdline()) and child.children()
        ]

    def stop(self):
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(HANG_S)
        self.log.close()
        _, left = psutil.wait_procs(children, timeout=HANG_S)
        return status, [" ".join(child.cmdline()) for child in left if child.is_running()]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory, model_folder):
    running = Fleet(tmp_path_factory.mktemp("fleet"))
    try:
        running.wait()
        yield running
    finally:
        if running.process.poll() is None:
            status, left = running.stop()
            assert (status, left) == (0, []), running.log


def body(number, *, stream=True, tokens=TOKENS):
    return {
        "model": "smollm2",
        "messages": [{"role": "user", "content": f"Tell me a story, number {number}"}],
        "stream": stream,
        **({"stream_options": {"include_usage": True}} if stream else {}),
        "max_tokens": tokens,
        "ignore_eos": True,
    }


async def streamed(client, number, begun):
    """Tokens by the engine's own count, or else parts that came (not every token is a text by
    itself); the error if any, and whether the stream came to its end. ``begun`` is set with the
    first part."""
    parts, counted, error, done = 0, None, None, False
    async with client.stream("POST", "/v1/chat/completions", json=body(number)) as response:
        assert response.status_code == 200
        async for line in response.aiter_lines():
            if line.startswith("data: {"):
                event = json.loads(line[6:])
                error = event.get("error", error)
                parts += sum(bool(c["delta"].get("content")) for c in event.get("choices", []))
                if parts:
                    begun.set()
                counted = (event.get("usage") or {}).get("completion_tokens", counted)
            done = done or line == "data: [DONE]"
    return parts if counted is None else counted, error, done


async def whole(client, number, tokens=TOKENS):
    asked = body(number, stream=False, tokens=tokens)
    answer = await client.post("/v1/chat/completions", json=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()["usage"]["completion_tokens"]


def named(metric):
    """Whether the metric names a model, and not the priors."""
    return 'name="' in metric and 'name="class-prior"' not in metric


def test_requests_are_forecast_placed_and_observed(fleet):
    # A predictor that a busy machine is slow to start is tried again; priors answer meanwhile.
    wait_until(
        lambda: any(k.startswith("slotwise_model_info") and named(k) for k in fleet.metrics()),
        what="the predictor",
    )
    headers = {"x-slo-e2e-ms": "120000"}
    with httpx.Client(base_url=fleet.url, timeout=HANG_S, trust_env=False) as client:
        for number in range(4):
            # A story is longer; a length that the request forces is no forecast.
            asked = {**body(number, stream=bool(number % 2), tokens=24), "ignore_eos": False}
            answer = client.post("/v1/chat/completions", json=asked, headers=headers)
            assert answer.status_code == 200
    metrics = fleet.metrics()
    assert metrics['slotwise_predictions_total{ingress="0",source="model"}'] == 4
    assert metrics['slotwise_slo_met_total{class="other",ingress="0"}'] == 4
    decided = [v for k, v in metrics.items() if k.startswith("slotwise_router_decisions_total")]
    assert sum(decided) == 4
    assert {k for k in metrics if k.startswith("slotwise_replica_healthy")} == {
        'slotwise_replica_healthy{replica="0"}',
        'slotwise_replica_healthy{replica="1"}',
    }
    with sqlite3.connect(fleet.folder / "observations.db") as database:
        rows = database.execute("select output_tokens, met, replica from observations").fetchall()
    assert [row[:2] for row in rows] == [(24, 1)] * 4
    assert {row[2] for row in rows} <= {0, 1}


def test_a_promoted_model_is_taken_up_without_a_restart(fleet):
    def version():
        return next(k for k in fleet.metrics() if k.startswith("slotwise_model_info"))

    before = version()
    index = fleet.predictor / "artifact.json"
    content = json.loads(index.read_text(encoding="utf-8"))
    index.write_text(json.dumps(content, indent=3), encoding="utf-8")
    wait_until(lambda: version() != before, what="the new version")
    assert fleet.metrics()["slotwise_fleet_predictors_mixed_seconds"] == 0


async def both_known(fleet, client):
    """Ask until the router knows both replicas and sends to both: a new one gets all at first."""

    def sent():
        found = fleet.metrics()
        names = [f'slotwise_router_requests_total{{ingress="0",replica="{k}"}}' for k in (0, 1)]
        blind = 'slotwise_router_decisions_total{by="no_digest",ingress="0"}'
        return [found.get(name, 0.0) for name in names], found.get(blind, 0.0)

    async with asyncio.timeout(HANG_S):
        while True:
            before, blind_before = sent()
            await asyncio.gather(*(whole(client, n, tokens=16) for n in range(6)))
            after, blind_after = sent()
            if blind_after == blind_before and min(np.subtract(after, before)) > 0:
                return


def counted(fleet):
    """Requests sent to replicas, and those sent anew."""
    found = fleet.metrics()
    sent = sum(v for k, v in found.items() if k.startswith("slotwise_router_requests_total"))
    return sent, found['slotwise_replaced_requests_total{ingress="0"}']


async def busiest(replicas):
    """Whose engine works: the other may have nothing to lose."""

    def used_s():
        engines = [replica.children(recursive=True) for replica in replicas]
        return np.array([sum(sum(e.cpu_times()[:2]) for e in each) for each in engines])

    before_s = used_s()
    await asyncio.sleep(1)
    return replicas[int(np.argmax(used_s() - before_s))]


async def test_a_replica_killed_in_mid_stream_costs_only_its_streams(fleet):
    async with httpx.AsyncClient(base_url=fleet.url, timeout=HANG_S, trust_env=False) as client:
        await both_known(fleet, client)
        sent, replaced = counted(fleet)
        # Not in turn: so are the replicas.
        begun = asyncio.Event()
        streams = [asyncio.create_task(streamed(client, n, begun)) for n in range(6)]
        wholes = [asyncio.create_task(whole(client, n)) for n in range(6, 12)]
        await begun.wait()
        victim = await busiest(fleet.replicas())
        os.kill(victim.pid, signal.SIGKILL)
        answered, pieces = await asyncio.gather(asyncio.gather(*wholes), asyncio.gather(*streams))
    assert answered == [TOKENS] * 6
    broken = [piece for piece in pieces if piece[1] is not None]
    kept = [piece for piece in pieces if piece[1] is None]
    assert all(done for _, _, done in pieces)
    assert all(error["code"] == 503 and tokens < TOKENS for tokens, error, _ in broken)
    assert [tokens for tokens, _, _ in kept] == [TOKENS] * len(kept)
    # Sent again is who was counted as placed anew, nobody else.
    sent_after, replaced_after = counted(fleet)
    assert sent_after - sent == 12 + replaced_after - replaced, (broken, kept)


async def test_the_board_killed_costs_nothing(fleet):
    board = [
        child
        for child in psutil.Process(fleet.process.pid).children(recursive=True)
        if "SnapshotBoard" in " ".join(child.cmdline())
    ]
    os.kill(board[0].pid, signal.SIGKILL)
    async with httpx.AsyncClient(base_url=fleet.url, timeout=HANG_S, trust_env=False) as client:
        assert await whole(client, 99) == TOKENS
    wait_until(
        lambda: any(k.startswith("slotwise_replica_healthy") for k in fleet.metrics()),
        what="the board's return",
    )


def test_it_ends_in_order_and_leaves_nothing(fleet):
    assert fleet.stop() == (0, [])
