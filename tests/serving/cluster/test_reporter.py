import numpy as np
import pytest

from scheduler.placement.digest import SIZE, Closed, Digest, Item
from serving.cluster.reporter import HEARTBEAT_S, Reporter
from serving.digest_file import EngineReport, write_report


class World:
    """A reporter, what it posted, its clock and its engine."""

    def __init__(self, path):
        self.now_s, self.posted, self.dead, self.ends = 0.0, [], False, 0
        self.path = path
        self.reporter = Reporter(
            path=path,
            replica="r",
            rank=3,
            model="m",
            named="org/m",
            period_s=0.1,
            hang_s=10.0,
            post=self.post,
            alive=self.alive,
            on_hang=self.ended,
            clock=lambda: self.now_s,
        )

    async def post(self, report):
        self.posted.append(report)

    def ended(self):
        self.ends += 1

    async def alive(self):
        if self.dead:
            raise RuntimeError("engine core gone")

    def engine_says(self, serial, live=2.0, closed=Closed.OPEN):
        values = np.zeros(SIZE)
        values[Item.CLOSED] = closed
        values[Item.LIVE] = live
        values[Item.KV_FREE], values[Item.KV_USED] = 70, 30
        write_report(self.path, EngineReport(serial, 5, 1, Digest(values)))

    async def look(self, passed_s=0.0):
        self.now_s += passed_s
        await self.reporter.look()
        return self.posted[-1] if self.posted else None


@pytest.fixture
def world(tmp_path):
    return World(tmp_path / "digest")


async def test_before_the_first_report_it_is_there_and_well(world):
    said = await world.look()
    assert (said.rank, said.digest, said.healthy) == (3, None, True)


async def test_what_an_engine_says_is_passed_on_once_with_its_age(world):
    world.reporter.entered()
    world.engine_says(1)
    said = await world.look()
    assert Digest.from_bytes(said.digest).values[Item.LIVE] == 2
    assert (said.untrained, said.fallbacks, said.age_s) == (5, 1, 0.0)
    await world.look(0.1)
    assert len(world.posted) == 1
    world.engine_says(2, live=3.0)
    await world.look(0.1)
    assert len(world.posted) == 2


async def test_a_heartbeat_says_how_old_it_is(world):
    world.reporter.entered()
    world.engine_says(1)
    await world.look()
    said = await world.look(HEARTBEAT_S + 0.1)
    assert said.age_s == pytest.approx(HEARTBEAT_S + 0.1)
    assert len(world.posted) == 2


async def test_an_idle_engine_says_nothing_and_counts_as_idle_now(world):
    world.engine_says(1)
    said = await world.look(5.0)
    values = Digest.from_bytes(said.digest).values
    assert said.age_s == 0.0
    assert (values[Item.LIVE], values[Item.KV_FREE]) == (0, 100)
    assert said.healthy


async def test_an_engine_that_owes_an_answer_and_says_nothing_hangs(world):
    world.engine_says(1)
    await world.look()
    world.now_s += 100
    world.reporter.entered()
    assert not world.reporter.hangs
    world.now_s += 10.1
    assert world.reporter.hangs
    assert not (await world.look()).healthy
    await world.look()
    assert world.ends == 1
    world.engine_says(2)
    assert (await world.look()).healthy


async def test_a_paused_engine_neither_hangs_nor_opens_when_everybody_has_left(world):
    world.reporter.entered()
    world.engine_says(1, closed=Closed.PAUSED)
    await world.look()
    assert (await world.look(100.0)).healthy
    assert world.ends == 0
    world.reporter.left()
    said = await world.look(1.0)
    assert Digest.from_bytes(said.digest).paused
    # Once resumed it owes answers again.
    world.reporter.entered()
    world.engine_says(2)
    await world.look()
    assert not (await world.look(10.1)).healthy


async def test_a_dead_engine_is_not_healthy(world):
    world.dead = True
    assert not (await world.look()).healthy


async def test_a_request_that_left_owes_nothing(world):
    world.engine_says(1)
    world.reporter.entered()
    await world.look()
    world.reporter.left()
    world.now_s += 100
    assert not world.reporter.hangs


async def test_a_file_that_vanished_or_cannot_be_read_is_no_hang(world, caplog):
    world.engine_says(1)
    world.reporter.entered()
    await world.look()
    for break_it in (world.path.unlink, lambda: world.path.write_bytes(b"short")):
        break_it()
        said = await world.look(100.0)
        assert said.digest is None
        assert said.healthy
    assert caplog.text.count("cannot be read") == 1
    assert world.ends == 0


async def test_nothing_ends_the_reports(world, caplog):
    import asyncio

    calls = []

    async def post(report):
        calls.append(report)
        raise RuntimeError("unforeseen")

    world.reporter.post = post
    world.reporter.period_s = 0.0
    running = asyncio.create_task(world.reporter.run())
    while len(calls) < 3:
        world.now_s += 10
        await asyncio.sleep(0)
    running.cancel()
    assert "this look at the engine failed" in caplog.text
