"""Access to MLflow with bounded waits and errors of our own tree.

MLflow retries an unreachable server or database for minutes. This module connects to it once,
within seconds, before MLflow does. Every error names ``MLFLOW_TRACKING_URI`` and a remedy.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx

from predictor.errors import RegistryError

VARIABLE = "MLFLOW_TRACKING_URI"

_WITHIN_S = 5.0
_HTTP = ("http", "https")
# The name of the connection time-out, by kind of database.
_TIMEOUT_NAMES = {"postgresql": "connect_timeout", "mysql": "connect_timeout", "sqlite": "timeout"}
# MLflow's defaults add up to minutes; a user's setting wins.
_BOUNDS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
_DATABASES = (*_TIMEOUT_NAMES, "mssql")
# What MLflow's refusal of a folder names.
_FILE_STORE = "MLFLOW_ALLOW_FILE_STORE"
_LEAST_FAULT = 500
# Up to the last @: passwords are not always encoded as a URI demands.
_SECRET = re.compile(r"(?<=//)\S*@")
_SAID = 300


class MlflowAccess:
    """An MLflow client whose every error is a ``RegistryError``."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        if find_spec("mlflow") is None:
            raise RegistryError("the registry needs MLflow: pip install 'slotwise[mlflow]'")
        _probe(uri)
        self._client = self._guarded(lambda: _client(uri))()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        return self._guarded(found) if callable(found) else found

    def check_writable(self) -> None:
        """Raise ``RegistryError`` if a run could not be written."""
        if _scheme(self._uri) == "sqlite" and (path := _sqlite_file(self._uri)) is not None:
            _begin(self._uri, path)
        self.search_experiments(max_results=1)

    def _guarded(self, ask: Callable[..., Any]) -> Callable[..., Any]:
        def asked(*arguments: Any, **named: Any) -> Any:
            with _bounded():
                try:
                    return ask(*arguments, **named)
                # MLflow's stores are plug-ins over third-party drivers, whose errors share no base.
                except Exception as error:
                    raise fault(self._uri, error) from error

        return asked


def check_setting() -> None:
    """Raise ``RegistryError`` for a value that can never work, without any connection.

    An unreachable server or database is no such value: it may start later.
    """
    uri = os.environ.get(VARIABLE)
    if uri and _scheme(uri).partition("+")[0] not in (*_HTTP, *_DATABASES):
        MlflowAccess(uri)


def _client(uri: str) -> Any:
    from mlflow import MlflowClient  # noqa: PLC0415 - an optional extra, and slow to load

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def fault(uri: str, error: object) -> RegistryError:
    """Our error for a fault of MLflow or of what it connects to."""
    if _FILE_STORE in str(error):
        return RegistryError(
            f"{VARIABLE} {uri}: this release of MLflow keeps no registry in a folder; "
            "set sqlite:///FILE.db, move what is there by `mlflow migrate-filestore --source "
            f"FOLDER --target sqlite:///FILE.db`, or set {_FILE_STORE}=true"
        )
    return RegistryError(f"{VARIABLE} {shown_uri(uri)}: {_line(error)}; {_remedy(uri)}")


def shown_uri(uri: str) -> str:
    """Without name and password."""
    return _SECRET.sub("***@", uri)


def _probe(uri: str) -> None:
    """Raise ``RegistryError`` unless the server or database responds within seconds."""
    try:
        scheme = _scheme(uri)
        if scheme in _HTTP:
            _probe_server(uri)
        elif scheme.partition("+")[0] in _DATABASES:
            _probe_database(uri)
    except RegistryError:
        raise
    # Database drivers have errors of their own, which share no base.
    except Exception as error:
        raise fault(uri, error) from error


def _probe_server(uri: str) -> None:
    # MLflow verifies the certificate itself; this request carries no secret.
    health = httpx.URL(f"{uri.rstrip('/')}/health").copy_with(userinfo=b"")
    response = httpx.get(health, timeout=_WITHIN_S, verify=False, follow_redirects=True)
    if response.status_code >= _LEAST_FAULT:
        raise fault(uri, f"responds with HTTP {response.status_code}")


def _probe_database(uri: str) -> None:
    from sqlalchemy import create_engine  # noqa: PLC0415 - comes with MLflow
    from sqlalchemy.pool import NullPool  # noqa: PLC0415

    kind = _scheme(uri).partition("+")[0]
    if kind == "sqlite" and (path := _sqlite_file(uri)) is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    timeout = {_TIMEOUT_NAMES[kind]: int(_WITHIN_S)} if kind in _TIMEOUT_NAMES else {}
    engine = create_engine(uri, poolclass=NullPool, connect_args=timeout)
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")


def _begin(uri: str, path: Path) -> None:
    import sqlite3  # noqa: PLC0415 - for this check alone

    try:
        connection = sqlite3.connect(path, timeout=_WITHIN_S)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise fault(uri, error) from error


def _sqlite_file(uri: str) -> Path | None:
    from sqlalchemy.engine import make_url  # noqa: PLC0415 - comes with MLflow

    database = make_url(uri).database
    return Path(database) if database and database != ":memory:" else None


def _scheme(uri: str) -> str:
    scheme, separator, _ = uri.partition(":")
    return scheme.lower() if separator else ""


def _remedy(uri: str) -> str:
    if _scheme(uri) in _HTTP:
        return (
            "start that server, set another one or sqlite:///FILE.db, or give "
            "MLFLOW_TRACKING_TOKEN (or _USERNAME and _PASSWORD) if it requires authentication"
        )
    return f"check that it is there and can be written, or set {VARIABLE}=sqlite:///FILE.db"


def _line(error: object) -> str:
    """What an error says, on one line, without secrets."""
    text = _SECRET.sub("***@", " ".join(str(error).split())) or type(error).__name__
    return text if len(text) <= _SAID else f"{text[:_SAID]}..."


@contextmanager
def _bounded() -> Iterator[None]:
    """Bound MLflow's retries and output, which only the environment controls."""
    ours = {name: value for name, value in _BOUNDS.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)
