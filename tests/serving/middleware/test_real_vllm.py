"""A real vLLM server with everything of ours in it, started by ``slotwise serve``."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest
from waiting import HANG_S, wait_until

from serving import shadowlog
from serving.engine.config import free_port
from serving.engine.dtype import AUTO, chosen
from serving.engine.log import last_words

pytest.importorskip("vllm", reason="vLLM is not installed (extra: cpu or gpu)")
pytestmark = pytest.mark.engine

ROOT = Path(__file__).parents[3]
STORED = 'slotwise_observations_total{outcome="stored"}'
HI = [{"role": "user", "content": "Say hello."}]


SLOS = """
classes:
  code: {e2e_ms: 600000}
  chat: {ttft_ms: 600000, tpot_ms: 60000, priority: 1}
  impatient: {ttft_ms: 0.01, sheddable: true}
default_class: chat
"""
PLAIN = ("-m", "vllm.entrypoints.openai.api_server", "--model")
SERVE = ("-c", "from serving.cli import main; main()", "serve")
OURS = (
    *("--scheduler-cls", "serving.vllm_scheduler.SlotwiseScheduler"),
    *("--middleware", "serving.middleware.asgi.SlotwiseMiddleware"),
)


class Server:
    """A server in a process group of its own; ``variables`` are ours."""

    def __init__(self, folder, model, *flags, command=SERVE, **variables):
        self.log, self.port = folder / "serve.log", free_port()
        self.database = folder / "seen.db"
        slos = folder / "slos.yaml"
        slos.write_text(SLOS)
        engine = ("--max-model-len", "512", "--max-num-seqs", "4", "--enforce-eager")
        ours = {
            "database_url": f"sqlite:///{self.database}",
            "spool": folder / "spool",
            "slo_config": slos,
            **variables,
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, *command, str(model), *flags, *engine),
                    *("--port", str(self.port), "--served-model-name", "tiny"),
                    *("--dtype", chosen(AUTO), "--no-enable-prefix-caching"),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                start_new_session=True,
                env={
                    **os.environ,
                    "VLLM_CPU_KVCACHE_SPACE": "1",
                    "HF_HUB_OFFLINE": "1",
                    **{f"SLOTWISE_{name.upper()}": str(value) for name, value in ours.items()},
                },
            )
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=HANG_S)
        self._wait()

    def _wait(self):
        try:
            wait_until(self._well, alive=lambda: self.process.poll() is None, what="its start")
        except AssertionError:
            self.stop()
            pytest.fail(f"the server did not start:\n{last_words(self.log)}")

    def _well(self):
        try:
            return self.http.get("/health").status_code == 200
        except httpx.TransportError:
            return False

    def stop(self):
        self.http.close()
        for sent in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                os.killpg(self.process.pid, sent)
                try:
                    self.process.wait(30)
                except subprocess.TimeoutExpired:
                    continue

    def metric(self, name, path="/slotwise/metrics"):
        lines = self.http.get(path).text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    def running(self):
        """Requests in the engine, by vLLM's own count."""
        names = ("vllm:num_requests_running{", "vllm:num_requests_waiting{")
        return sum(self.metric(name, "/metrics") for name in names)

    def engine(self):
        """The process of the engine core."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return next(each for each in children if "EngineCore" in str(each.cmdline()))

    def observations(self, count):
        """All of them, once there are so many: they are written behind the answers."""
        wait_until(lambda: self.metric(STORED) >= count, what=f"{count} observations")
        with sqlite3.connect(self.database) as database:
            database.row_factory = sqlite3.Row
            return [dict(r) for r in database.execute("select * from observations order by at_s")]


def gone(group):
    """Whether nothing is left of a process group; the last may outlive the first by moments."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.fixture(scope="module")
def server(tmp_path_factory, model_folder):
    started = Server(tmp_path_factory.mktemp("serve"), model_folder)
    yield started
    started.stop()
    wait_until(lambda: gone(started.process.pid), what="the end of its processes")


def chat(server, headers=None, **more):
    body = {"model": "tiny", "messages": HI, "max_tokens": 12, "ignore_eos": True, **more}
    return server.http.post("/v1/chat/completions", json=body, headers=headers)


def complete(server, headers=None, **more):
    body = {"model": "tiny", "prompt": "Once", "max_tokens": 4, "ignore_eos": True, **more}
    return server.http.post("/v1/completions", json=body, headers=headers)


def events(answer):
    return [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]


def test_a_chat_is_answered_and_observed_to_the_token(server):
    before = int(server.metric(STORED))
    assert chat(server).json()["usage"]["completion_tokens"] == 12
    headers = {"x-llm-d-inference-objective": "code", "x-slo-ttft-ms": "600000"}
    told = events(chat(server, headers, max_tokens=15, stream=True))
    assert told[-1] == "[DONE]"
    # Nothing was added to what the client asked for.
    assert all(json.loads(event).get("usage") is None for event in told[:-1])
    whole, streamed = server.observations(before + 2)[before:]
    assert (whole["output_tokens"], streamed["output_tokens"]) == (12, 15)
    assert (whole["slo_class"], streamed["slo_class"]) == ("chat", "code")
    assert (whole["met"], streamed["met"]) == (1, 1)
    assert 0 < streamed["ttft_s"] < streamed["e2e_s"]
    assert streamed["lengths"] is not None


@pytest.mark.parametrize(
    ("asked", "answers"),
    [
        ({"prompt": "Once upon a time"}, 1),
        ({"prompt": ["Once", "Twice"]}, 2),
        ({"prompt": [504, 3014, 335]}, 1),
        ({"prompt": [[504, 3014], [335]]}, 2),
        ({"n": 2}, 2),
    ],
)
def test_completions_in_every_form(server, asked, answers):
    before = int(server.metric(STORED))
    answer = complete(server, **asked).json()
    assert len(answer["choices"]) == answers
    assert answer["usage"]["completion_tokens"] == 4 * answers
    told = events(complete(server, stream=True, **asked))
    assert {json.loads(event)["choices"][0]["index"] for event in told[:-1]} == set(range(answers))
    for row in server.observations(before + 2)[-2:]:
        assert (row["answers"], row["output_tokens"]) == (answers, 4 * answers)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("path", "body", "last"),
    [
        ("/v1/responses", {"input": "Say hello.", "max_output_tokens": 20}, "response.completed"),
        ("/v1/messages", {"messages": HI, "max_tokens": 20}, "message_stop"),
    ],
)
def test_other_apis_carry_their_slo_and_are_observed_to_the_token(server, path, body, last, stream):
    before = int(server.metric(STORED))
    headers = {"x-gateway-inference-objective": "code", "x-slo-ttft-ms": "600000"}
    body = {"model": "tiny", "stream": stream, **body}
    answer = server.http.post(path, json=body, headers=headers)
    assert answer.status_code == 200
    if stream:
        assert f"event: {last}\n" in answer.text
        (usage, *_) = [each for each in map(json.loads, events(answer)) if counted(each)][::-1]
        told = counted(usage)
    else:
        told = counted(answer.json())
    (row,) = server.observations(before + 1)[before:]
    assert (row["slo_class"], row["met"], row["natural"]) == ("code", 1, 1)
    assert (row["input_tokens"], row["output_tokens"]) == told
    assert 0 < row["ttft_s"] <= row["e2e_s"]
    assert json.loads(row["lengths"])[0] >= 0
    assert row["predicted_mean"] <= 20


def counted(event):
    """Tokens in and out, as an answer or the last event of a stream says them."""
    usage = (event.get("response") or event).get("usage") or {}
    found = usage.get("input_tokens"), usage.get("output_tokens")
    return None if None in found or not found[1] else found


def test_a_batch_of_chats_is_observed_as_several_answers(server):
    before = int(server.metric(STORED))
    body = {"model": "tiny", "messages": [HI, HI], "max_tokens": 6, "ignore_eos": True}
    answer = server.http.post("/v1/chat/completions/batch", json=body)
    assert answer.status_code == 200
    (row,) = server.observations(before + 1)[before:]
    assert (row["answers"], row["output_tokens"], row["natural"]) == (2, 12, 0)


def test_an_output_that_states_no_limit_is_cut_where_the_engine_cuts_it(server):
    before = int(server.metric(STORED))
    body = {"model": "tiny", "prompt": "Once upon a time"}
    assert server.http.post("/v1/completions", json=body).status_code == 200
    body = {"model": "tiny", "messages": HI, "stop": ["e"]}
    assert server.http.post("/v1/chat/completions", json=body).status_code == 200
    completed, chatted = server.observations(before + 2)[before:]
    assert last_edge(completed) <= 16
    assert last_edge(chatted) <= 511


def last_edge(row):
    lengths = json.loads(row["lengths"])
    return lengths[len(lengths) // 2]


def test_a_route_that_is_switched_off_generates_nothing_and_is_not_counted(server):
    body = {"token_ids": [504, 3014], "sampling_params": {"max_tokens": 4}}
    assert server.http.post("/inference/v1/generate", json=body).status_code == 403
    label = '{route="/inference/v1/generate"}'
    assert server.metric("slotwise_untouched_requests_total" + label) == 0


def test_vllm_says_itself_what_is_wrong(server):
    assert server.http.post("/v1/completions", content=b"{").status_code == 400
    wrong = chat(server, max_tokens=-3)
    assert wrong.status_code == 400
    assert "max_tokens" in wrong.text
    assert complete(server, model="nobody").status_code == 404


def test_what_makes_no_sense_is_counted_and_served(server):
    before = server.metric("slotwise_ignored_hints_total")
    assert chat(server, {"x-llm-d-slo-ttft-ms": "-5"}).status_code == 200
    assert chat(server, {"x-vllm-priority": "3"}).status_code == 200
    ours = {"slotwise_slo_s": "now", "slotwise_lengths": [3, -1], "theirs": 5}
    assert chat(server, vllm_xargs=ours).status_code == 200
    assert server.metric("slotwise_ignored_hints_total") == before + 2
    assert server.http.get("/v1/models").json()["data"][0]["id"] == "tiny"


def test_who_may_be_shed_and_waits_in_vain_is_told_429(server):
    headers = {"x-llm-d-inference-objective": "impatient"}
    # By now there is a latency model: a hundred steps.
    assert complete(server, max_tokens=100).status_code == 200
    for ask in (chat, complete):
        for stream in (False, True):
            answer = ask(server, headers, stream=stream)
            assert answer.status_code == 429
            assert answer.headers["x-llm-d-request-dropped-reason"] == "rejected-ttl-expired"
            assert answer.json()["error"]["code"] == 429
    assert complete(server, headers, n=2).status_code == 200
    assert server.metric('slotwise_shed_requests_total{class="impatient"}') == 4
    assert server.metric('slotwise_slo_violations_total{class="impatient",kind="shed"}') == 4


def test_clients_that_go_away_leave_nothing_in_the_engine(server):
    body = {"model": "tiny", "prompt": "Once", "max_tokens": 400, "stream": True}
    observed = server.metric(STORED)
    for _ in range(6):
        with server.http.stream(
            "POST", "/v1/completions", json={**body, "ignore_eos": True}
        ) as answer:
            next(answer.iter_lines())
    wait_until(lambda: server.running() == 0, what="an idle engine")
    assert server.metric(STORED) == observed


def test_plain_flags_in_mode_shadow_and_the_death_of_the_engine(tmp_path, model_folder):
    log = tmp_path / "shadow.jsonl"
    keys = ("--api-key", "secret", "other")
    ours = (*OURS, *keys)
    started = Server(tmp_path, model_folder, *ours, command=PLAIN, mode="shadow", shadow_log=log)
    try:
        assert chat(started).status_code == 401
        assert started.metric("slotwise_predictions_total") == 0
        started.http.headers["authorization"] = "Bearer other"
        assert chat(started, max_tokens=100).status_code == 200
        headers = {"x-llm-d-inference-objective": "impatient"}
        assert chat(started, headers, stream=True).status_code == 200
        assert len(started.observations(2)) == 2
        body = {"model": "tiny", "prompt": "Once", "max_tokens": 400, "stream": True}
        with started.http.stream(
            "POST", "/v1/completions", json={**body, "ignore_eos": True}
        ) as answer:
            lines = answer.iter_lines()
            next(lines)
            started.engine().kill()
            told = [line for line in lines if line.startswith("data: {")]
        assert "error" in json.loads(told[-1][6:])
        started.process.wait(HANG_S)
        wait_until(lambda: gone(started.process.pid), what="the end of its processes")
    finally:
        started.stop()
    assert any(shadowlog.read(log))
