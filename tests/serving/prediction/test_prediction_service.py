"""Predictions always come, whatever happens to the process that makes them."""

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest

from predictor.distribution import LengthDistribution
from predictor.errors import PredictionError
from predictor.history import HistoryPredictor
from predictor.prompt import Prompt
from serving.prediction.forecast import COMPACT_BINS, Forecast
from serving.prediction.pool import PoolConfig
from serving.prediction.service import Deadlines, PredictionService
from serving.priors import ClassPriors

FAULTY = str(Path(__file__).with_name("faulty_worker.py"))


class Events:
    def __init__(self):
        self.batches, self.restarts, self.fallbacks = [], 0, Counter()

    def batch(self, items):
        self.batches.append(items)

    def restart(self):
        self.restarts += 1

    def fallback(self, reason, items):
        self.fallbacks[reason] += items


@pytest.fixture
def folder(tmp_path):
    """An artifact's index, which is all that the faulty process reads."""
    path = tmp_path / "model"
    path.mkdir()
    (path / "artifact.json").write_text(json.dumps({"kind": "faulty"}))
    return path


def service(
    folder,
    *,
    workers=1,
    batch_items=64,
    hang_s=5.0,
    queue_items=1000,
    one_s=5.0,
    program=sys.executable,
):
    return PredictionService(
        source=None if folder is None else str(folder),
        command=lambda copy, name: [str(program), FAULTY, str(copy), name],
        pool=PoolConfig(
            workers=workers, batch_items=batch_items, queue_items=queue_items, hang_s=hang_s
        ),
        deadlines=Deadlines(one_s=one_s, bulk_s=20.0),
        priors=ClassPriors(),
        events=Events(),
    )


async def until(condition, seconds=30.0):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.fixture
async def running(folder):
    used = service(folder)
    await used.start()
    yield used
    await used.stop()


async def test_one_and_many_in_order(running):
    assert (await running.one(Prompt("abc"))).osl == 4
    found = await running.many([Prompt("x" * length) for length in range(300)])
    assert [forecast.osl for forecast in found] == list(range(1, 301))
    assert {forecast.source for forecast in found} == {"model"}
    assert running.state == "trained"
    assert max(running._events.batches) <= 64


async def test_what_arrives_together_is_one_batch(running):
    await asyncio.gather(*(running.one(Prompt("x")) for _ in range(50)))
    assert len(running._events.batches) < 10
    assert sum(running._events.batches) == 50


async def test_several_processes_share_a_bulk(folder):
    used = service(folder, workers=2)
    await used.start()
    try:
        assert len(used.workers) == 2
        found = await used.many([Prompt("x" * length) for length in range(100)])
        assert [forecast.osl for forecast in found] == list(range(1, 101))
    finally:
        await used.stop()


async def test_a_killed_process_is_replaced(running):
    (pid,) = running.workers
    os.kill(pid, signal.SIGKILL)
    first = await running.one(Prompt("abc"))
    assert first.source == "prior"
    await until(lambda: running.state == "trained")
    assert (await running.one(Prompt("abc"))).source == "model"
    assert running._events.restarts >= 1
    assert running.workers != [pid]


async def test_one_that_dies_of_a_prompt(running):
    assert (await running.one(Prompt("DIE"))).source == "prior"
    await until(lambda: running.state == "trained")
    assert (await running.one(Prompt("abc"))).osl == 4


async def test_a_hung_process_is_late_then_replaced(folder):
    used = service(folder, hang_s=1.0, one_s=0.2)
    await used.start()
    try:
        assert (await used.one(Prompt("HANG"))).source == "prior"
        assert used._events.fallbacks["late"] == 1
        await until(lambda: used._events.restarts > 0 and used.state == "trained")
        async with asyncio.timeout(20):
            while (await used.one(Prompt("abc"))).source != "model":
                await asyncio.sleep(0.05)
    finally:
        await used.stop()


async def replaced(used):
    """Ask until another process answers."""
    await until(lambda: used._events.restarts > 0 and used.state == "trained")


async def all_of_the_model_are_right(used):
    """Forecast by forecast: nobody gets another prompt's."""
    found = [await used.one(Prompt("x" * length)) for length in range(20)]
    assert {forecast.source for forecast in found} == {"model"}
    assert [forecast.osl for forecast in found] == list(range(1, 21))


async def test_a_time_out_among_retries_shifts_no_later_forecast(folder):
    """The late forecast of SLOW must not be read as that of the next prompt."""
    used = service(folder, hang_s=0.5)
    await used.start()
    try:
        texts = ["NAN", "SLOW", "abc", "abcd"]
        found = await asyncio.gather(*(used.one(Prompt(text)) for text in texts))
        assert [each.osl for each in found if each.source == "model"] in ([], [4, 5])
        await replaced(used)
        await all_of_the_model_are_right(used)
    finally:
        await used.stop()


async def test_who_was_not_asked_before_a_time_out_is_asked_of_another_process(folder):
    used = service(folder, workers=2, hang_s=0.5)
    await used.start()
    try:
        await used.many([Prompt("x")] * 2)
        texts = ["NAN", "SLOW", *("x" * length for length in range(30))]
        found = await asyncio.gather(*(used.one(Prompt(text)) for text in texts))
        assert [each.source for each in found] == ["prior"] * 2 + ["model"] * 30
        assert [each.osl for each in found[2:]] == list(range(1, 31))
    finally:
        await used.stop()


@pytest.mark.parametrize("fault", ["TWICE", "NONSENSE"])
async def test_a_process_that_answers_something_else_is_replaced(running, fault):
    await running.one(Prompt("x"))
    assert (await running.one(Prompt(fault))).source == "prior"
    await replaced(running)
    await all_of_the_model_are_right(running)


async def test_a_prompt_that_cannot_be_sent_costs_itself_alone(running):
    prompts = [Prompt("abc"), Prompt("abc", input_tokens=10**30), Prompt("abcd")]
    found = await asyncio.gather(*(running.one(prompt) for prompt in prompts))
    assert [forecast.source for forecast in found] == ["model", "prior", "model"]
    assert running._events.restarts == 0


@pytest.fixture
def program(tmp_path):
    """A way to start processes that can be taken away."""
    path = tmp_path / "python"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    path.chmod(0o755)
    return path


async def test_no_process_for_a_while_ends_no_predictor(folder, program, caplog):
    """As with EAGAIN or ENOMEM of a fork: the system refuses, and later it does not."""
    used = service(folder, program=program)
    hidden = program.rename(program.with_name("hidden"))
    await used.start()
    try:
        assert used.state == "none"
        assert "no process can be started" in used.error
        hidden.rename(program)
        await until(lambda: used.state == "trained")
        program.rename(hidden)
        os.kill(used.workers[0], signal.SIGKILL)
        await until(lambda: used._events.restarts > 1)
        assert (await used.one(Prompt("abc"))).source == "prior"
        hidden.rename(program)
        await until(lambda: used.state == "trained")
        assert (await used.one(Prompt("abc"))).osl == 4
    finally:
        await used.stop()


@pytest.mark.parametrize("fault", ["NAN", "NEGATIVE", "FEW", "ODD"])
async def test_nonsense_costs_no_neighbour_its_forecast(running, fault):
    prompts = ["abc", fault, "abcd"]
    found = await asyncio.gather(*(running.one(Prompt(text)) for text in prompts))
    assert [forecast.source for forecast in found] == ["model", "prior", "model"]
    assert running._events.fallbacks == {"failed": 1}
    assert running._events.restarts == 0


async def test_a_full_queue_answers_at_once(folder):
    used = service(folder, queue_items=10)
    await used.start()
    try:
        found = await used.many([Prompt("x")] * 11)
        assert {forecast.source for forecast in found} == {"prior"}
        assert used._events.fallbacks == {"queue_full": 11}
    finally:
        await used.stop()


async def test_a_reload_drops_nothing(running, folder):
    asked = asyncio.gather(*(running.many([Prompt("x")] * 20) for _ in range(30)))
    (folder / "artifact.json").write_text(json.dumps({"kind": "faulty", "later": 1}))
    before = running.info
    after = await running.reload()
    assert after.version != before.version
    assert running.info == after
    found = [forecast for many in await asked for forecast in many]
    assert {forecast.source for forecast in found} == {"model"}


@pytest.mark.parametrize("damage", ["truncated", "missing"])
async def test_a_bad_artifact_leaves_the_old_model(running, folder, damage):
    before = running.info
    if damage == "missing":
        (folder / "artifact.json").unlink()
        folder.rmdir()
    else:
        (folder / "artifact.json").write_text('{"kind": "fau')
    with pytest.raises(PredictionError):
        await running.reload()
    assert running.info == before
    assert running.error
    assert (await running.one(Prompt("abc"))).osl == 4
    os.kill(running.workers[0], signal.SIGKILL)  # and it survives its own death
    await until(lambda: running._events.restarts > 0 and running.state == "trained")
    assert (await running.one(Prompt("abc"))).osl == 4


async def test_no_model_at_all():
    used = service(None)
    await used.start()
    forecast = await used.one(Prompt("abc", max_tokens=20))
    assert forecast.source == "prior"
    assert forecast.lengths.edges[-1] <= 20
    assert used.state == "none"
    for _ in range(64):
        used._priors.observe("chat", 5)
    assert used.state == "fallback"
    with pytest.raises(PredictionError, match="SLOTWISE_PREDICTOR"):
        await used.reload()


@pytest.mark.parametrize("running", ["none", "queue_full"])
async def test_ten_thousand_priors_let_others_have_their_turn(folder, running):
    """They take a second or more together, on the loop that answers everybody."""
    used = service(None if running == "none" else folder, queue_items=10)
    await used.start()
    try:
        asked = asyncio.create_task(
            used.many([Prompt("x", max_tokens=1 + n % 700) for n in range(10_000)])
        )
        turns = 0
        while not asked.done():
            await asyncio.sleep(0)
            turns += 1
        assert turns > 100
        assert [each.lengths.edges[-1] for each in asked.result()[:3]] == [2, 2, 3]
    finally:
        await used.stop()


def real(source):
    return PredictionService(
        source=str(source),
        pool=PoolConfig(),
        deadlines=Deadlines(one_s=10.0, bulk_s=10.0),
        priors=ClassPriors(),
        events=Events(),
    )


async def test_the_packaged_predictor():
    used = real("packaged")
    await used.start()
    try:
        assert (used.info.name, used.info.kind) == ("packaged", "fast")
        assert (await used.one(Prompt("Write a poem", "chat"))).source == "model"
    finally:
        await used.stop()


async def test_a_predictor_that_is_not_there_leaves_the_priors(tmp_path):
    used = real(tmp_path / "gone")
    await used.start()
    assert used.state == "none"
    assert "no such folder" in used.error
    with pytest.raises(PredictionError, match="packaged, champion"):
        await used.reload()


async def test_a_real_artifact_through_the_real_process(tmp_path):
    HistoryPredictor.fit([Prompt("a", "chat")] * 9, list(range(1, 10))).save_pretrained(
        tmp_path / "history"
    )
    used = real(tmp_path / "history")
    await used.start()
    try:
        assert used.info.kind == "history"
        assert used.info.name == "history"
        forecast = await used.one(Prompt("lone surrogate \ud800", "chat"))
        assert forecast.source == "model"
        assert forecast.osl == 5
    finally:
        await used.stop()


def test_a_compact_forecast_says_what_the_distribution_said():
    lengths = LengthDistribution.from_samples(range(1, 5000))
    forecast = Forecast.of(lengths)
    told = json.loads(forecast.encoded(b',"x":1'))
    assert told["source"] == "model"
    assert told["x"] == 1
    assert forecast.lengths.bins <= COMPACT_BINS
    assert forecast.lengths.mean == pytest.approx(lengths.mean, rel=0.02)
    assert told["quantiles"]["0.5"] == lengths.quantile(0.5)
