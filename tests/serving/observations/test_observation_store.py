from concurrent.futures import ThreadPoolExecutor

import pytest
from made_up import observation
from sqlalchemy import inspect, text

from predictor.errors import ConfigError, StoreError
from serving.observations.database import migrate, open_engine
from serving.observations.store import ObservationStore, Retention
from serving.observations.table import metadata


@pytest.fixture
def store(database_url):
    used = ObservationStore.open(database_url)
    yield used
    used.close()


def test_what_went_in_comes_out(store):
    rows = [observation(number) for number in range(5)]
    rows.append(observation(5, lengths=None, met=None, llm="Llama", prompt="naïve 猫"))
    store.add(rows)
    assert store.latest(10) == rows
    assert store.latest(2) == rows[-2:]


def test_an_id_is_stored_once(store):
    store.add([observation(1), observation(2)])
    store.add([observation(2), observation(3), observation(3)])
    assert store.count() == 3


def test_retention_by_age_and_by_number(store):
    store.add([observation(number) for number in range(100)])
    now_s = 1_000_000.0 + 50 + 86_400
    assert store.prune(Retention(days=1.0, rows=30), now_s=now_s) == 70
    assert [row.id for row in store.latest(100)] == [f"o{n}" for n in range(70, 100)]
    assert store.prune(Retention(days=1.0, rows=30), now_s=now_s) == 0


def test_migrations_make_the_table_as_it_is_declared(database_url):
    engine = open_engine(database_url)
    migrate(engine)
    migrate(engine)  # nothing left to do
    found = {column["name"] for column in inspect(engine).get_columns("observations")}
    assert found == {column.name for column in metadata.tables["observations"].columns}
    engine.dispose()


def test_threads_that_come_to_a_new_database_together_all_find_it_ready(tmp_path):
    for number in range(5):
        url = f"sqlite:///{tmp_path / f'{number}.db'}"
        stores = [ObservationStore.open(url) for _ in range(6)]
        with ThreadPoolExecutor(len(stores)) as pool:
            assert list(pool.map(ObservationStore.count, stores)) == [0] * len(stores)
        for store in stores:
            store.close()


def test_rows_of_an_earlier_table_have_one_answer_of_natural_length(database_url):
    engine = open_engine(database_url)
    migrate(engine, "0001")
    with engine.begin() as connection:
        connection.execute(
            text(
                "insert into observations (id, at_s, slo_class, output_tokens)"
                " values ('old', 1, 'c', 2)"
            )
        )
    store = ObservationStore(engine)
    store.add([observation(1, answers=3), observation(2, natural=False)])
    found = {row.id: (row.answers, row.natural) for row in store.latest(9)}
    assert found == {"old": (1, True), "o1": (3, True), "o2": (1, False)}
    store.close()


def test_tables_of_a_newer_slotwise_are_refused(database_url):
    engine = open_engine(database_url)
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("update alembic_version set version_num = '9999'"))
    with pytest.raises(StoreError, match="upgrade"):
        migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("update alembic_version set version_num = '0002'"))
    engine.dispose()


def test_sqlite_writes_ahead_and_waits_for_the_disk(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path / 'deep' / 'er' / 'o.db'}")
    migrate(engine)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    engine.dispose()


@pytest.mark.parametrize("url", ["nonsense", "mysql://u:pw@h/d", "oracle://h"])
def test_another_database_is_refused_without_its_password(url):
    with pytest.raises(ConfigError) as caught:
        open_engine(url)
    assert "SLOTWISE_DATABASE_URL" in str(caught.value)
    assert "pw" not in str(caught.value)


def test_a_database_that_is_not_there(tmp_path):
    with pytest.raises(StoreError):
        ObservationStore.open("postgresql://nobody@127.0.0.1:1/none").count()
    (tmp_path / "o.db").write_bytes(b"this is no database, whatever its name may say" * 100)
    with pytest.raises(StoreError):
        ObservationStore.open(f"sqlite:///{tmp_path / 'o.db'}").count()
