"""Nothing acknowledged is lost, while the database is away either."""

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from made_up import observation

from predictor.errors import StoreError
from serving.observations.spool import Spool
from serving.observations.store import ObservationStore, Retention
from serving.observations.writer import ObservationWriter


class Outcomes(Counter[str]):
    def __call__(self, outcome: str, rows: int) -> None:
        self[outcome] += rows


def writer_on(url: str, folder: Path, *, spool_bytes: int = 10**6) -> ObservationWriter:
    used = ObservationWriter(
        ObservationStore.open(url),
        Spool(folder / "spool", max_bytes=spool_bytes),
        retention=Retention(days=1e6, rows=10**6),
        on_outcome=Outcomes(),
        retry_s=0.1,
    )
    used.start()
    return used


def until(condition, seconds=30.0):
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def ids(spool: Spool) -> list[str]:
    found: list[str] = []
    spool.drain(lambda rows: bool(found.extend(row.id for row in rows)))
    return found


def counted(url: str) -> int:
    store = ObservationStore.open(url)
    try:
        return store.count()
    finally:
        store.close()


def test_many_at_once_are_stored(database_url, tmp_path):
    used = writer_on(database_url, tmp_path)
    until(lambda: used.up)
    futures = [used.submit([observation(number)]) for number in range(300)]
    assert {future.result(30) for future in futures} == {"stored"}
    used.stop()
    assert counted(database_url) == 300


def test_the_database_goes_and_comes_back(postgres, tmp_path):
    """None within the bound is lost, what is beyond it is refused and counted."""
    used = writer_on(postgres.url, tmp_path, spool_bytes=20_000)
    until(lambda: used.up)
    assert used.submit([observation(0)]).result(30) == "stored"
    postgres.stop()
    futures = [used.submit([observation(number)]) for number in range(1, 201)]
    kept = [future for future in futures if future.exception(60) is None]
    lost = [future for future in futures if future.exception(60) is not None]
    assert kept
    assert lost
    assert {future.result() for future in kept} == {"spooled"}
    assert used._on_outcome["dropped"] == len(lost)
    assert not used.up
    postgres.start()
    until(lambda: used.up and used.spooled == 0)
    assert used.submit([observation(999)]).result(30) == "stored"
    used.stop()
    assert counted(postgres.url) == len(kept) + 2
    import psycopg

    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("DROP TABLE observations, alembic_version")


def test_the_spool_of_a_process_that_died_is_taken_up(database_url, tmp_path):
    spool = Spool(tmp_path / "spool", max_bytes=10**6)
    spool.append([observation(number) for number in range(10)])
    with (tmp_path / "spool").open("ab") as file:
        file.write(b'{"id": "cut sho')  # killed while it wrote
    used = writer_on(database_url, tmp_path)
    until(lambda: used.up and used.spooled == 0)
    used.stop()
    assert counted(database_url) == 10


def test_a_line_cut_short_is_not_written_on(tmp_path):
    path = tmp_path / "spool"
    Spool(path, max_bytes=10**6).append([observation(0)])
    with path.open("ab") as file:
        file.write(b'{"id": "cut sho')
    spool = Spool(path, max_bytes=10**6)
    spool.append([observation(1)])
    assert ids(spool) == ["o0", "o1"]


def test_processes_that_share_a_spool_lose_nothing(tmp_path):
    """Some write while others empty it, each with a handle of its own."""
    taken, rounds, writers = [], 60, 4

    def write(first):
        spool = Spool(tmp_path / "spool", max_bytes=10**7)
        for number in range(rounds):
            spool.append([observation(first * rounds + number)])

    def take(rows):
        taken.extend(row.id for row in rows)
        return True

    with ThreadPoolExecutor() as pool:
        writing = [pool.submit(write, first) for first in range(writers)]
        spool = Spool(tmp_path / "spool", max_bytes=10**7)
        while not all(done.done() for done in writing):
            spool.drain(take)
    for done in writing:
        done.result()
    spool.drain(take)
    assert sorted(taken) == sorted(f"o{number}" for number in range(rounds * writers))


def test_one_process_empties_it_at_a_time_and_others_may_write_meanwhile(tmp_path):
    spool = Spool(tmp_path / "spool", max_bytes=10**6)
    spool.append([observation(0)])
    other = Spool(tmp_path / "spool", max_bytes=10**6)

    def take(rows):
        assert other.drain(lambda _: True) == 0
        other.append([observation(1)])
        return True

    assert spool.drain(take) == 1
    assert ids(other) == ["o1"]


def test_a_folder_in_its_place_is_a_store_error(tmp_path):
    spool = Spool(tmp_path, max_bytes=10**6)
    assert len(spool) == 0
    with pytest.raises(StoreError, match="spool"):
        spool.append([observation(0)])
    with pytest.raises(StoreError, match="spool"):
        spool.drain(lambda _: True)


def test_lines_of_a_newer_slotwise_are_read(tmp_path):
    spool = Spool(tmp_path / "spool", max_bytes=10**6)
    spool.append([observation(0)])
    line = json.loads((tmp_path / "spool").read_bytes()) | {"invented_later": 1}
    (tmp_path / "spool").write_text(json.dumps(line) + "\n")
    assert ids(spool) == ["o0"]


def test_what_was_not_taken_stays(tmp_path):
    spool = Spool(tmp_path / "spool", max_bytes=10**6)
    spool.append([observation(0)])
    assert spool.drain(lambda rows: False) == 0
    assert len(spool) == 1


def test_without_a_folder_for_the_spool_the_database_is_still_used(database_url, tmp_path):
    (tmp_path / "file").write_text("")
    used = writer_on(database_url, tmp_path / "file")
    until(lambda: used.up)
    assert used.submit([observation(0)]).result(30) == "stored"
    used.stop()


def test_a_damaged_line_costs_itself_alone(tmp_path):
    path = tmp_path / "spool"
    Spool(path, max_bytes=10**6).append([observation(0)])
    with path.open("ab") as file:
        file.write(b'{"id": 1}\nnonsense\n')
    assert ids(Spool(path, max_bytes=10**6)) == ["o0"]


def test_a_full_spool_takes_all_of_a_parcel_or_none(tmp_path):
    spool = Spool(tmp_path / "spool", max_bytes=1_000)
    with pytest.raises(StoreError, match="full"):
        spool.append([observation(number) for number in range(100)])
    assert (tmp_path / "spool").stat().st_size == 0
    spool.append([observation(0)])
    assert len(spool) == 1


def test_a_full_disk_is_refused_and_the_writer_goes_on(tmp_path):
    """SQLite's own answer to a full disk, by a limit on its pages; the spool has no room."""
    url = f"sqlite:///{tmp_path / 'o.db'}"
    used = writer_on(url, tmp_path, spool_bytes=10)
    until(lambda: used.up)
    used._store._engine.dispose()
    from sqlalchemy import event

    event.listen(
        used._store._engine,
        "connect",
        lambda connection, _: connection.execute("PRAGMA max_page_count=12"),
    )
    outcomes = [
        used.submit([observation(number, prompt="x" * 5_000)]).exception(30) for number in range(40)
    ]
    assert outcomes[0] is None
    assert isinstance(outcomes[-1], StoreError)
    stored = sum(outcome is None for outcome in outcomes)
    used.stop()
    assert counted(url) == stored
