"""The replay against a small server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
from fake_openai import FakeOpenAI
from waiting import HANG_S

from scheduler.slo import Slo, tpot_s
from serving.bench import engine_watch
from serving.bench.replay import Replay, ReplayEvent, ReplayRequest

SLOS = {"promised": Slo(e2e_s=1000.0), "hopeless": Slo(e2e_s=1e-9), "free": Slo()}
LATER_S = 3600.0


@pytest.fixture
async def server() -> AsyncIterator[FakeOpenAI]:
    async with asyncio.timeout(HANG_S), FakeOpenAI() as fake:
        yield fake


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every failed request of a healthy server costs a replay six looks."""
    monkeypatch.setattr(engine_watch, "_LOOK_EVERY_S", 0.02)


def ask(behaviour: str, *, name: str = "r", arrival_s: float = 0.0, **more) -> ReplayRequest:
    return ReplayRequest(
        request_id=name,
        arrival_s=arrival_s,
        prompt=behaviour,
        slo_class=more.pop("slo_class", "promised"),
        prompt_tokens=3,
        recorded_tokens=8,
        max_tokens=6,
        **more,
    )


def replay(server: FakeOpenAI, *requests: ReplayRequest, **more) -> Replay:
    more = {"timeout_s": HANG_S, **more}
    return Replay(requests, server.base_url, "m", SLOS, **more)


async def run(server: FakeOpenAI, *requests: ReplayRequest, **more) -> Replay:
    made = replay(server, *requests, **more)
    await made.run()
    return made


async def test_an_answer_is_measured(server: FakeOpenAI) -> None:
    done = await run(server, ask("ok", predicted_mean_tokens=9.0, prediction_s=0.001))
    (record,) = done.records
    assert (record.status, record.error, record.met) == ("ok", None, True)
    assert (record.prompt_tokens, record.output_tokens, record.recorded_tokens) == (11, 8, 8)
    assert (record.predicted_mean_tokens, record.prediction_s) == (9.0, 0.001)
    assert record.ttft_s is not None
    assert record.e2e_s is not None
    assert 0 < record.ttft_s <= record.e2e_s <= done.duration_s
    assert record.tpot_s == tpot_s(e2e_s=record.e2e_s, ttft_s=record.ttft_s, output_tokens=8)
    assert done.error is None
    assert done.started_unix_s > 0


async def test_tokens_without_text_are_an_answer(server: FakeOpenAI) -> None:
    (record,) = (await run(server, ask("empty"))).records
    assert record.status == "ok"
    assert record.ttft_s is not None


async def test_a_forced_length_travels_with_everything_else(server: FakeOpenAI) -> None:
    await run(server, ask("ok", name="me", priority=3, xargs={"a": [1.0, 2.0]}), seed=7)
    (body,) = server.bodies
    assert (body["max_tokens"], body["ignore_eos"]) == (6, True)
    assert (body["model"], body["seed"], body["temperature"]) == ("m", 7, 0)
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})
    assert (body["priority"], body["vllm_xargs"]) == (
        3,
        {"a": [1.0, 2.0], "replay_output_tokens": 8},
    )
    assert server.request_ids == ["me"]


async def test_a_natural_length_is_only_limited(server: FakeOpenAI) -> None:
    await run(server, ask("ok", force_length=False))
    (body,) = server.bodies
    assert body["max_tokens"] == 6
    assert not {"min_tokens", "ignore_eos", "priority", "vllm_xargs"} & set(body)


@pytest.mark.parametrize(
    ("slo_class", "met"), [("promised", True), ("hopeless", False), ("free", None)]
)
async def test_a_promise_is_met_broken_or_was_never_made(
    server: FakeOpenAI, slo_class: str, met: bool | None
) -> None:
    (record,) = (await run(server, ask("ok", slo_class=slo_class))).records
    assert record.met is met


@pytest.mark.parametrize(
    ("behaviour", "status", "message"),
    [
        ("429", "rejected", "HTTP 429: told to 429"),
        ("503", "rejected", "HTTP 503: told to 503"),
        ("500", "failed", "HTTP 500: told to 500"),
        ("400", "failed", "HTTP 400: told to 400"),
        ("error", "failed", "told to err"),
        ("break", "failed", "the connection failed"),
    ],
)
async def test_what_goes_wrong_is_recorded_as_a_violation(
    server: FakeOpenAI, behaviour: str, status: str, message: str
) -> None:
    done = await run(server, ask(behaviour, name="bad"), ask("ok", name="good"))
    records = {record.request_id: record for record in done.records}
    bad = records["bad"]
    assert (bad.status, bad.met, bad.ttft_s, bad.e2e_s) == (status, False, None, None)
    assert bad.error is not None
    assert message in bad.error
    assert records["good"].status == "ok"
    assert done.error is None


async def test_silence_ends_in_a_timeout(server: FakeOpenAI) -> None:
    (record,) = (await run(server, ask("hang"), timeout_s=0.3)).records
    assert (record.status, record.met) == ("timeout", False)
    assert "0.3 s" in str(record.error)


async def test_a_request_that_promised_nothing_is_not_a_violation(server: FakeOpenAI) -> None:
    (record,) = (await run(server, ask("500", slo_class="free"))).records
    assert (record.status, record.met) == ("failed", None)


async def test_more_requests_at_once_than_a_pool_would_hold(server: FakeOpenAI) -> None:
    done = await run(server, *(ask("ok", name=f"r{number}") for number in range(150)))
    assert [record.status for record in done.records] == ["ok"] * 150
    assert {record.request_id for record in done.records} == set(server.request_ids)


async def test_connections_are_used_again(server: FakeOpenAI) -> None:
    await run(server, *(ask("ok", name=f"r{n}", arrival_s=0.15 * n) for n in range(4)))
    assert server.connections < 4


async def test_events_tell_the_life_of_a_request(server: FakeOpenAI) -> None:
    seen: list[ReplayEvent] = []
    done = await run(server, ask("ok"), on_event=seen.append)
    assert [event.kind for event in seen] == ["sent", "first_token", "finished"]
    assert [event.record for event in seen] == [None, None, done.records[0]]


async def test_no_requests_is_a_short_replay(server: FakeOpenAI) -> None:
    assert (await run(server)).records == []


async def test_a_server_that_dies_fails_the_rest_at_once() -> None:
    requests = [ask("ok", name=f"r{number}") for number in range(4)]
    late = ask("ok", name="late", arrival_s=LATER_S)
    async with asyncio.timeout(HANG_S), FakeOpenAI(die_after=20) as server:
        done = await run(server, *requests, late, timeout_s=2 * LATER_S)
    statuses = {record.request_id: record.status for record in done.records}
    assert len(statuses) == 5
    assert statuses["late"] == "failed"
    assert set(statuses.values()) <= {"ok", "failed"}
    assert "died" in str(done.error)


async def test_what_was_answered_before_the_death_is_kept() -> None:
    first, rest = ask("ok", name="first"), [ask("ok", name=f"r{n}") for n in range(3)]
    late = ask("ok", name="late", arrival_s=LATER_S)
    async with asyncio.timeout(HANG_S), FakeOpenAI(die_after=30) as server:
        rest = [replace(request, arrival_s=0.3) for request in rest]
        done = await run(server, first, *rest, late, timeout_s=2 * LATER_S)
    statuses = {record.request_id: record.status for record in done.records}
    assert statuses["first"] == "ok"
    assert statuses["late"] == "failed"


def dies_once_asked(times: int) -> Callable[[], str | None]:
    answers = iter([None] * times)
    return lambda: next(answers, "status 7: out of memory")


async def test_a_death_that_the_process_reports_ends_hanging_requests(server: FakeOpenAI) -> None:
    done = await run(
        server,
        ask("hang", name="now"),
        ask("ok", name="late", arrival_s=LATER_S),
        timeout_s=2 * LATER_S,
        engine_death=dies_once_asked(1),
    )
    assert [record.status for record in done.records] == ["failed", "failed"]
    assert done.error == "status 7: out of memory"
    assert {record.error for record in done.records} == {done.error}


async def test_a_death_that_ends_every_stream_at_once_is_noticed(server: FakeOpenAI) -> None:
    done = await run(server, ask("ok", name="first"), ask("fatal", name="last", arrival_s=0.2))
    assert {r.request_id: r.status for r in done.records} == {"first": "ok", "last": "failed"}
    assert "answers 503 to /health" in str(done.error)


async def test_a_process_that_ends_after_its_last_stream_is_noticed(server: FakeOpenAI) -> None:
    done = await run(server, ask("error"), engine_death=dies_once_asked(1))
    assert done.error == "status 7: out of memory"


async def test_a_failed_request_of_a_server_that_is_well_is_no_death(server: FakeOpenAI) -> None:
    done = await run(server, ask("error"), ask("ok", name="other"), engine_death=lambda: None)
    assert sorted(record.status for record in done.records) == ["failed", "ok"]
    assert done.error is None


async def test_cancelling_keeps_what_was_gathered(server: FakeOpenAI) -> None:
    finished = asyncio.Event()

    def note(event: ReplayEvent) -> None:
        if event.kind == "finished":
            finished.set()

    made = replay(server, ask("ok", name="done"), ask("hang", name="open"), on_event=note)
    running = asyncio.create_task(made.run())
    await finished.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [record.request_id for record in made.records] == ["done"]
    assert made.error is None
    assert made.duration_s > 0


async def test_latencies_count_from_the_scheduled_arrival(server: FakeOpenAI) -> None:
    sent: list[float] = []
    done = await run(
        server,
        ask("ok", arrival_s=0.2),
        on_event=lambda event: sent.append(event.at_s),
    )
    (record,) = done.records
    assert record.arrival_s == 0.2
    assert min(sent) >= 0.2
    assert record.e2e_s is not None
    assert record.e2e_s <= done.duration_s - 0.2
