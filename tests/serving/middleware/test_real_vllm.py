"""A real vLLM server with everything of ours in it, started by ``slotwise serve``."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from serving.engine.config import free_port
from serving.engine.log import last_words

pytest.importorskip("vllm", reason="vLLM is not installed (extra: cpu or gpu)")
pytestmark = pytest.mark.engine

ROOT = Path(__file__).parents[3]
CODE = "from serving.cli import main; main()"
START_S = 240.0
HI = [{"role": "user", "content": "Say hello."}]


class Server:
    """``slotwise serve`` in a process group of its own."""

    def __init__(self, folder, model, *flags):
        self.log, self.port = folder / "serve.log", free_port()
        self.database = folder / "seen.db"
        engine = ("--max-model-len", "512", "--max-num-seqs", "4", "--enforce-eager")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-c", CODE, "serve", str(model), *flags),
                    *("--port", str(self.port), "--served-model-name", "tiny", *engine),
                    *("--dtype", "bfloat16", "--no-enable-prefix-caching"),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                start_new_session=True,
                env={
                    **os.environ,
                    "VLLM_CPU_KVCACHE_SPACE": "1",
                    "HF_HUB_OFFLINE": "1",
                    "SLOTWISE_DATABASE_URL": f"sqlite:///{self.database}",
                    "SLOTWISE_SPOOL": str(folder / "spool"),
                    "SLOTWISE_STEP_LOG": str(folder / "steps.jsonl"),
                },
            )
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=120)
        self._wait()

    def _wait(self):
        until = time.monotonic() + START_S
        while time.monotonic() < until and self.process.poll() is None:
            try:
                if self.http.get("/health").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.5)
        self.stop()
        pytest.fail(f"the server did not start:\n{last_words(self.log)}")

    def stop(self):
        self.http.close()
        for sent in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                os.killpg(self.process.pid, sent)
                try:
                    self.process.wait(30)
                except subprocess.TimeoutExpired:
                    continue

    def observations(self):
        with sqlite3.connect(self.database) as database:
            database.row_factory = sqlite3.Row
            return [dict(r) for r in database.execute("select * from observations order by at_s")]


@pytest.fixture(scope="module")
def server(tmp_path_factory, model_folder):
    started = Server(tmp_path_factory.mktemp("serve"), model_folder)
    yield started
    started.stop()


def chat(server, headers=None, **more):
    body = {"model": "tiny", "messages": HI, "max_tokens": 12, "ignore_eos": True, **more}
    return server.http.post("/v1/chat/completions", json=body, headers=headers)


def test_a_chat_is_answered_and_observed_to_the_token(server):
    before = len(server.observations())
    assert chat(server).json()["usage"]["completion_tokens"] == 12
    with server.http.stream(
        "POST",
        "/v1/chat/completions",
        json={
            "model": "tiny", "messages": HI, "max_tokens": 15, "ignore_eos": True, "stream": True,
        },
        headers={"x-llm-d-inference-objective": "code", "x-slo-e2e-ms": "60000"},
    ) as answer:  # fmt: skip
        lines = [line for line in answer.iter_lines() if line.startswith("data: ")]
    assert lines[-1] == "data: [DONE]"
    # Nothing was added to what the client asked for.
    assert all(json.loads(line[6:]).get("usage") is None for line in lines[:-1])
    time.sleep(0.5)
    whole, streamed = server.observations()[before:]
    assert (whole["output_tokens"], streamed["output_tokens"]) == (12, 15)
    assert (streamed["slo_class"], streamed["met"]) == ("code", 1)
    assert 0 < streamed["ttft_s"] < streamed["e2e_s"]
    assert streamed["lengths"] is not None


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": "Once upon a time"},
        {"prompt": ["Once", "Twice"]},
        {"prompt": [504, 3014, 335]},
        {"prompt": [[504, 3014], [335]]},
        {"prompt": "Once", "n": 2},
        {"prompt": "Once", "stream": True},
    ],
)
def test_completions_in_every_form(server, body):
    answer = server.http.post(
        "/v1/completions", json={"model": "tiny", "max_tokens": 4, "ignore_eos": True, **body}
    )
    assert answer.status_code == 200


def test_vllm_says_itself_what_is_wrong(server):
    assert server.http.post("/v1/completions", content=b"{").status_code == 400
    wrong = chat(server, max_tokens=-3)
    assert wrong.status_code == 400
    assert "max_tokens" in wrong.text
    assert chat(server, vllm_xargs={"slotwise_slo_s": "now"}).status_code == 200


def test_priority_by_header_and_the_metrics(server):
    assert chat(server, headers={"x-llm-d-slo-ttft-ms": "-5"}).status_code == 200
    text = server.http.get("/slotwise/metrics").text
    assert 'slotwise_ignored_hints_total{kind="ttft"} 1.0' in text
    assert 'slotwise_slo_requests_total{class="chat"}' in text
    assert server.http.get("/v1/models").json()["data"][0]["id"] == "tiny"


def test_it_ends_at_a_signal_with_all_of_its_processes(tmp_path, model_folder):
    started = Server(tmp_path, model_folder, "--mode", "shadow")
    group = started.process.pid
    assert chat(started).status_code == 200
    started.stop()
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)
