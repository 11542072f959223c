"""Nothing acknowledged is lost, while the database is away either."""

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from made_up import observation

from predictor.errors import StoreError
from serving.observations.refused import Refused, RefusedFile
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


BAD = {
    "a NUL in the prompt": {"prompt": "a\x00b"},
    "a name too long": {"model_name": "m" * 201},
    "an LLM's name too long": {"llm": "m" * 5_000},
    "a number out of range": {"input_tokens": 2**31},
    "a number out of all range": {"output_tokens": 2**70},
    "a lone surrogate": {"prompt": "a\ud800b"},
    "no number in a list": {"lengths": (0.0, 4.0, float("nan"))},
    "nothing where something must be": {"slo_class": None},
}
# What SQLite, which knows neither lengths nor ranges of 32 bits, cannot store either.
BAD_EVERYWHERE = {
    "a number out of all range",
    "a lone surrogate",
    "nothing where something must be",
}


def refused_in(folder: Path) -> list[dict]:
    path = folder / "spool.refused"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize("kind", BAD)
def test_a_row_that_the_database_refuses_costs_no_other(database_url, tmp_path, kind):
    refuses = database_url.startswith("postgresql") or kind in BAD_EVERYWHERE
    used = writer_on(database_url, tmp_path)
    until(lambda: used.up)
    good = [observation(number) for number in range(40)]
    bad = [observation(number, **BAD[kind]) for number in (98, 99)]
    assert used.submit([*good[:25], bad[0], *good[25:]]).result(30) == "stored"
    assert used.submit([bad[1]]).result(30) == ("refused" if refuses else "stored")
    assert used.submit([observation(50)]).result(30) == "stored"
    assert used.up
    assert used.spooled == 0
    used.stop()
    assert used.refused == used._on_outcome["refused"] == (2 if refuses else 0)
    assert counted(database_url) == used._on_outcome["stored"] == 43 - used.refused
    put_aside = [each["observation"]["id"] for each in refused_in(tmp_path)]
    assert put_aside == (["o98", "o99"] if refuses else [])
    assert all(each["why"] for each in refused_in(tmp_path))


def test_while_the_database_is_away_bad_rows_fill_no_spool(postgres, tmp_path):
    """They wait like others, or are put aside at once; when it is back only good ones are left."""
    used = writer_on(postgres.url, tmp_path)
    until(lambda: used.up)
    postgres.stop()
    good = [observation(number) for number in range(8)]
    bad = [observation(90 + number, **more) for number, more in enumerate(BAD.values())]
    assert used.submit([row for pair in zip(good, bad, strict=True) for row in pair]).result(60)
    assert used.spooled >= len(good)
    postgres.start()
    until(lambda: used.up and used.spooled == 0)
    assert used.submit([observation(50)]).result(30) == "stored"
    used.stop()
    put_aside = {each["observation"]["id"] for each in refused_in(tmp_path)}
    store = ObservationStore.open(postgres.url)
    stored = {row.id for row in store.latest(99)}
    store.close()
    assert {row.id for row in good} | {"o50"} <= stored
    # JSON has no nan: in the spool it becomes null, which the database takes.
    assert {row.id for row in bad} - put_aside == stored - {row.id for row in good} - {"o50"}
    assert len(put_aside) == len(bad) - 1
    import psycopg

    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("DROP TABLE observations, alembic_version")


def test_many_bad_rows_among_many_good_ones(database_url, tmp_path):
    """Told apart by halves, each good one stored once."""
    used = writer_on(database_url, tmp_path)
    until(lambda: used.up)
    rows = [observation(n, prompt="\ud800" if n % 7 == 0 or n < 40 else "fine") for n in range(500)]
    bad = sum(row.prompt != "fine" for row in rows)
    assert used.submit(rows).result(60) == "stored"
    used.stop()
    assert counted(database_url) == 500 - bad
    assert len({each["observation"]["id"] for each in refused_in(tmp_path)}) == bad


def test_a_database_without_its_table_refuses_no_row(database_url, tmp_path):
    """It is the database's fault then: rows go to the spool, and none is put aside."""
    used = writer_on(database_url, tmp_path)
    until(lambda: used.up)
    with used._store._engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE observations RENAME TO elsewhere")
    assert used.submit([observation(n) for n in range(9)]).result(30) == "spooled"
    with used._store._engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO observations")
    until(lambda: used.up and used.spooled == 0)
    used.stop()
    assert counted(database_url) == 9
    assert refused_in(tmp_path) == []


def test_the_file_of_refused_rows_is_bounded(tmp_path, caplog):
    file = RefusedFile(tmp_path / "refused", max_bytes=2_000)
    for number in range(50):
        file.append([Refused(observation(number, prompt="\ud800"), "no UTF-8")])
    assert 0 < (tmp_path / "refused").stat().st_size <= 2_000
    assert len(caplog.records) == 2  # the first, and that it is full
    assert "are lost" in caplog.text


def test_whoever_gives_up_waiting_stops_nobody(database_url, tmp_path):
    """A client that goes away cancels its future, before or while its rows are written."""
    used = ObservationWriter(
        ObservationStore.open(database_url),
        Spool(tmp_path / "spool", max_bytes=10**6),
        retention=Retention(days=1e6, rows=10**6),
    )
    gone = [used.submit([observation(number)]) for number in range(20)]
    assert all(future.cancel() for future in gone[::2])
    used.start()
    assert [future.result(30) for future in gone[1::2]]
    until(lambda: used.up)
    assert used.submit([observation(99)]).result(30) == "stored"
    until(lambda: used.spooled == 0)
    used.stop()
    assert counted(database_url) == 21


def test_a_fault_nobody_foresaw_costs_its_rows_alone(tmp_path, monkeypatch):
    used = writer_on(f"sqlite:///{tmp_path / 'o.db'}", tmp_path)
    until(lambda: used.up)
    with monkeypatch.context() as patch:
        patch.setattr(used._store, "add", lambda rows: 1 / 0)
        assert "ZeroDivisionError" in str(used.submit([observation(0)]).exception(30))
    assert used.submit([observation(1)]).result(30) == "stored"
    assert used._on_outcome == {"dropped": 1, "stored": 1}
    used.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_died_is_started_anew(tmp_path):
    used = writer_on(f"sqlite:///{tmp_path / 'o.db'}", tmp_path)
    until(lambda: used.up)
    assert used.revive()
    count, used._on_outcome = used._on_outcome, lambda *_: (_ for _ in ()).throw(SystemExit)
    assert isinstance(used.submit([observation(0)]).exception(30), StoreError)
    until(lambda: not used._thread.is_alive())
    used._on_outcome = count
    assert used.revive()
    assert used.submit([observation(1)]).result(30) == "stored"
    used.stop()
    assert not used.revive()
    assert isinstance(used.submit([observation(2)]).exception(1), StoreError)
    assert counted(f"sqlite:///{tmp_path / 'o.db'}") == 2
