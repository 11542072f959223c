"""The middleware in front of a server that shows what reached it."""

import asyncio
import json
import os
import signal
import sqlite3
from contextlib import contextmanager

import pytest

pytest.importorskip("fastapi", reason="the middleware is not installed (extra: serving)")

from fake_vllm import FakeVllm
from starlette.testclient import TestClient
from waiting import wait_until

from predictor.distribution import LengthDistribution
from predictor.history import HistoryPredictor
from predictor.prompt import Prompt
from serving.middleware.asgi import METRICS_PATH, SlotwiseMiddleware
from serving.xargs import decode

CHAT, PROMPTS = "/v1/chat/completions", "/v1/completions"
SLOS = """
classes:
  code: {e2e_ms: 30000}
  chat: {ttft_ms: 5000, tpot_ms: 100, priority: 1}
  impatient: {ttft_ms: 1, sheddable: true}
  careless: {sheddable: true}
default_class: chat
"""
HI = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture(scope="session")
def predictor(tmp_path_factory):
    """Chat answers have 1 to 100 tokens, code 200 to 299."""
    folder = tmp_path_factory.mktemp("predictors") / "history"
    prompts = [Prompt("", "chat")] * 100 + [Prompt("", "code")] * 100
    HistoryPredictor.fit(prompts, [*range(1, 101), *range(200, 300)]).save_pretrained(folder)
    return folder


@pytest.fixture
def serve(tmp_path, monkeypatch, predictor):
    """A server with the middleware in front; settings by environment, as vLLM hands them on."""
    monkeypatch.setenv("SLOTWISE_DATABASE_URL", f"sqlite:///{tmp_path}/seen.db")
    monkeypatch.setenv("SLOTWISE_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setenv("SLOTWISE_PREDICTOR", str(predictor))
    monkeypatch.setenv("SLOTWISE_PREDICT_DEADLINE_MS", "5000")
    slos = tmp_path / "slos.yaml"
    slos.write_text(SLOS)
    monkeypatch.setenv("SLOTWISE_SLO_CONFIG", str(slos))

    @contextmanager
    def server(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(f"SLOTWISE_{name.upper()}", str(value))
        fake = FakeVllm()
        with TestClient(SlotwiseMiddleware(fake.app)) as client:
            yield client, fake

    return server


@pytest.fixture
def no_predictor(serve, monkeypatch):
    """The same, with flat priors: quick to start."""
    monkeypatch.setenv("SLOTWISE_PREDICTOR", "none")
    with serve() as started:
        yield started


def observations(tmp_path):
    with sqlite3.connect(tmp_path / "seen.db") as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute("select * from observations")]


def hints_of(body):
    return decode(body["vllm_xargs"])


def metric(client, name):
    lines = client.get(METRICS_PATH).text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def test_a_chat_comes_with_promise_and_forecast(serve):
    with serve() as (client, fake):
        answer = client.post(CHAT, json=HI, headers={"x-llm-d-inference-objective": "code"})
        assert answer.json() == {"tokens": 5}
    hints = hints_of(fake.seen[0])
    assert (hints.slo_class, hints.slo.e2e_s, hints.priority) == ("code", 30.0, 0)
    assert 200 <= hints.lengths.mean <= 299
    assert {k: v for k, v in fake.seen[0].items() if k != "vllm_xargs"} == HI


def test_several_prompts_share_the_mixture_of_their_forecasts(serve):
    with serve() as (client, fake):
        client.post(PROMPTS, json={"prompt": ["a", "b"], "max_tokens": 40})
        client.post(PROMPTS, json={"prompt": [1, 2, 3], "max_tokens": 40})
    both, ids = (hints_of(seen).lengths for seen in fake.seen)
    assert both.edges[-1] <= 40
    # Nobody can judge token ids: the flat prior.
    assert ids.edges[-1] <= 40
    assert isinstance(both, LengthDistribution)


def test_an_answer_is_observed(serve, tmp_path):
    with serve() as (client, _):
        client.post(CHAT, json={**HI, "tokens": 7, "stream": True})
        client.post(CHAT, json={**HI, "tokens": 9})
        assert metric(client, "slotwise_output_tokens_count") == 2
    streamed, whole = observations(tmp_path)
    assert (streamed["output_tokens"], whole["output_tokens"]) == (7, 9)
    assert (streamed["slo_class"], streamed["source"], streamed["met"]) == ("chat", "model", 1)
    assert 0 < streamed["ttft_s"] < streamed["e2e_s"]
    assert streamed["tpot_s"] == pytest.approx(
        (streamed["e2e_s"] - streamed["ttft_s"]) / 6, rel=1e-6
    )
    # Whoever reads it whole sees its first token with its last.
    assert whole["ttft_s"] == pytest.approx(whole["e2e_s"], abs=1e-3)
    assert streamed["prompt"] is None


def test_of_several_answers_times_are_observed_and_no_length_is_judged(serve, tmp_path):
    with serve() as (client, _):
        client.post(CHAT, json={**HI, "tokens": 12, "n": 3, "stream": True})
        assert metric(client, "slotwise_slo_met_total") == 1
        assert metric(client, "slotwise_output_tokens_count") == 0
    (row,) = observations(tmp_path)
    assert (row["answers"], row["output_tokens"], row["met"]) == (3, 12, 1)
    assert (row["pit"], row["predicted_mean"], json.loads(row["lengths"])) == (None, None, None)
    # How long each of them took to write is not told.
    assert row["tpot_s"] is None


@pytest.mark.parametrize(
    ("slo_class", "asked", "mode", "sheddable"),
    [
        ("impatient", {"prompt": "a"}, "active", True),
        ("impatient", {"prompt": "a", "n": 2}, "active", False),
        ("impatient", {"prompt": ["a", "b"]}, "active", False),
        ("impatient", {"prompt": "a"}, "shadow", False),
        ("careless", {"prompt": "a"}, "active", False),
        ("chat", {"prompt": "a"}, "active", False),
    ],
)
def test_who_may_be_shed(serve, slo_class, asked, mode, sheddable):
    with serve(mode=mode) as (client, fake):
        client.post(PROMPTS, json=asked, headers={"x-llm-d-inference-objective": slo_class})
    assert hints_of(fake.seen[0]).sheddable is sheddable


def test_who_was_shed_is_told_429_and_counts_as_a_promise_broken(serve, tmp_path):
    headers = {"x-llm-d-inference-objective": "impatient"}
    with serve() as (client, _):
        answer = client.post(CHAT, json={**HI, "shed": True}, headers=headers)
        assert answer.status_code == 429
        assert client.post(CHAT, json=HI, headers=headers).status_code == 200
        assert metric(client, 'slotwise_shed_requests_total{class="impatient"}') == 1
        assert metric(client, 'slotwise_slo_requests_total{class="impatient"}') == 2
        broken = 'slotwise_slo_violations_total{class="impatient",kind="shed"}'
        assert metric(client, broken) == 1
    assert len(observations(tmp_path)) == 1


def test_prompts_are_stored_when_that_is_switched_on(serve, tmp_path):
    with serve(store_prompts="true") as (client, _):
        client.post(CHAT, json=HI)
    assert observations(tmp_path)[0]["prompt"] == "Hi"


@pytest.mark.parametrize("body", [{**HI, "status": 500}, {**HI, "tokens": 0}])
def test_what_came_to_nothing_is_not_observed(serve, tmp_path, body):
    with serve() as (client, fake):
        client.post(CHAT, json=body)
    assert len(fake.seen) == 1
    assert observations(tmp_path) == []


@pytest.mark.parametrize("raw", [b"", b"{", b"[1]", b'{"prompt": 7}', b"\xff\xfe"])
def test_a_body_nobody_can_read_passes_untouched(serve, raw):
    with serve() as (client, fake):
        client.post(PROMPTS, content=raw)
        assert metric(client, "slotwise_untouched_requests_total") == 1
    seen = fake.seen[0]
    assert (seen if isinstance(seen, bytes) else json.dumps(seen).encode()) == raw


@pytest.mark.parametrize("number", [2**53, 2**63 - 1, 2**64, 10**30, -1, 0, 1.5])
@pytest.mark.parametrize("name", ["max_tokens", "n", "temperature", "priority", "seed"])
def test_numbers_of_any_size_reach_vllm(no_predictor, name, number):
    client, fake = no_predictor
    assert client.post(PROMPTS, json={"prompt": "a", name: number}).status_code == 200
    # Beyond 64 bits as a float, which vLLM refuses as it would the integer.
    assert float(fake.seen[-1][name]) == float(number)
    assert hints_of(fake.seen[-1]).invalid == 0


def test_a_body_too_large_to_read_passes_untouched(serve):
    with serve(max_body_mib=0.001) as (client, fake):
        client.post(CHAT, json={**HI, "padding": "x" * 5000})
    assert "vllm_xargs" not in fake.seen[0]
    assert len(fake.seen[0]["padding"]) == 5000


def test_other_routes_pass_untouched(serve):
    with serve() as (client, _):
        assert client.get("/v1/models").json() == {"path": "/v1/models"}
        assert client.get(CHAT).json() == {"path": CHAT}


def test_what_a_client_gets_wrong_is_counted_and_served(serve):
    with serve() as (client, fake):
        answer = client.post(CHAT, json=HI, headers={"x-slo-ttft-ms": "soon"})
        assert answer.status_code == 200
        assert metric(client, 'slotwise_ignored_hints_total{kind="ttft"}') == 1
    assert hints_of(fake.seen[0]).slo.ttft_s == 5.0


def test_off_is_vllm_alone(serve, tmp_path):
    with serve(mode="off") as (client, fake):
        client.post(CHAT, json=HI)
        assert client.get(METRICS_PATH).json() == {"path": METRICS_PATH}
    assert fake.seen == [HI]
    assert not (tmp_path / "seen.db").exists()


def test_without_a_predictor_priors_answer(serve, monkeypatch):
    monkeypatch.setenv("SLOTWISE_PREDICTOR", "none")
    with serve() as (client, fake):
        client.post(CHAT, json={**HI, "max_tokens": 64})
    assert hints_of(fake.seen[0]).lengths is not None


def test_a_killed_predictor_costs_no_request(serve):
    with serve(predict_deadline_ms="300") as (client, fake):
        services = client.app._services
        for pid in services.predictions.workers:
            os.kill(pid, signal.SIGKILL)
        for _ in range(5):
            assert client.post(CHAT, json=HI).status_code == 200
        wait_until(lambda: services.predictions.state == "trained", what="another predictor")

        def model_answers():
            client.post(CHAT, json=HI)
            return hints_of(fake.seen[-1]).lengths.edges[-1] <= 128

        wait_until(model_answers, what="the model's forecast")
    assert all(hints_of(seen).lengths is not None for seen in fake.seen)


def test_settings_at_fault_stop_the_server_at_its_start(serve):
    with pytest.raises(BaseException, match=r"setting 'mode'"), serve(mode="sometimes"):
        pass


def test_a_client_that_goes_away_leaves_nothing_behind(serve, tmp_path):
    """It reads one chunk of a long answer and leaves."""

    async def visit(middleware):
        scope = {
            "type": "http", "method": "POST", "path": CHAT, "headers": [], "root_path": "",
            "query_string": b"", "http_version": "1.1", "scheme": "http",
        }  # fmt: skip
        body = json.dumps({**HI, "tokens": 500, "stream": True}).encode()
        sent = asyncio.Event()

        async def receive():
            if not sent.is_set():
                sent.set()
                return {"type": "http.request", "body": body}
            await asyncio.sleep(0.05)
            return {"type": "http.disconnect"}

        async def send(message):
            if message["type"] == "http.response.body":
                raise OSError("gone")

        with pytest.raises(BaseException):  # noqa: B017, PT011 - the server's own words
            await middleware(scope, receive, send)

    with serve() as (client, _):
        client.portal.call(visit, client.app)
        assert client.post(CHAT, json=HI).status_code == 200
    assert [row["output_tokens"] for row in observations(tmp_path)] == [5]
