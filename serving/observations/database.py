"""Opens the database of observations and brings its tables up to date."""

import threading
from importlib.resources import files
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError, SQLAlchemyError

from predictor.errors import ConfigError, StoreError

_CONNECT_S = 3
# Alembic keeps what it works on in globals: threads of one process have to take turns.
_ONE_AT_A_TIME = threading.Lock()
_DRIVERS = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}
_REMEDY = "give sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME in SLOTWISE_DATABASE_URL"


def open_engine(url: str) -> Engine:
    """Return an engine; nothing is connected yet. Raises ``ConfigError`` without the password."""
    address = _address(url)
    try:
        engine = create_engine(address, pool_pre_ping=True, connect_args=_connect_args(address))
    except (NoSuchModuleError, ImportError) as error:
        raise ConfigError(
            f"database {address!r}: its driver is missing ({error}); "
            "pip install 'slotwise[postgresql]', or use SQLite"
        ) from None
    if address.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _sqlite_pragmas)
    return engine


def migrate(engine: Engine, revision: str = "head") -> None:
    """Create the tables or bring them up to ``revision``; raises ``StoreError``."""
    config = Config()
    config.set_main_option("script_location", str(files("serving.observations") / "migrations"))
    try:
        _make_folder(engine.url)
        with _ONE_AT_A_TIME, engine.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    except CommandError as error:
        raise StoreError(
            f"database {engine.url!r}: {error}; if a newer Slotwise made its tables, upgrade"
        ) from error
    except (SQLAlchemyError, OSError) as error:
        raise StoreError(f"database {engine.url!r}: {_first_line(error)}") from error


def _address(url: str) -> URL:
    try:
        address = make_url(url)
    except ArgumentError:
        raise ConfigError(f"database URL: it cannot be read; {_REMEDY}") from None
    driver = _DRIVERS.get(address.drivername, address.drivername)
    if not driver.startswith(("sqlite", "postgresql")):
        raise ConfigError(f"database {address!r}: neither SQLite nor PostgreSQL; {_REMEDY}")
    return address.set(drivername=driver)


def _connect_args(address: URL) -> dict[str, Any]:
    if address.get_backend_name() == "sqlite":
        return {"timeout": _CONNECT_S}
    # A server that hangs must not hold the writer for ever.
    return {"connect_timeout": _CONNECT_S, "options": "-c statement_timeout=10000"}


def _sqlite_pragmas(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # Waits for the disk at each commit, so that power loss takes nothing acknowledged either.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _make_folder(address: URL) -> None:
    if address.get_backend_name() == "sqlite" and address.database not in (None, "", ":memory:"):
        Path(str(address.database)).parent.mkdir(parents=True, exist_ok=True)


def _first_line(error: Exception) -> str:
    cause = error.orig if isinstance(error, OperationalError) else error
    return str(cause).strip().splitlines()[0] if str(cause).strip() else type(error).__name__
