"""MLflow as a neighbour: whether it is there, and its faults as errors of ours.

MLflow asks a server or a database that is away again and again for minutes; here it is looked at
first, for seconds. Whatever it raises names ``MLFLOW_TRACKING_URI`` and a way out.
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
# What a connection is told of its patience, by the kind of database.
_PATIENCE = {"postgresql": "connect_timeout", "mysql": "connect_timeout", "sqlite": "timeout"}
# MLflow's own patience adds up to minutes; a user's setting wins.
_BOUNDS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
_DATABASES = (*_PATIENCE, "mssql")
# What MLflow's refusal of a folder names.
_FILE_STORE = "MLFLOW_ALLOW_FILE_STORE"
_LEAST_FAULT = 500
_SECRET = re.compile(r"(?<=//)[^@/]*@")
_SAID = 300


class MlflowAccess:
    """An MLflow client all of whose faults are ``RegistryError``."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        if find_spec("mlflow") is None:
            raise RegistryError("the registry needs MLflow: pip install 'slotwise[mlflow]'")
        _look(uri)
        self._client = self._guarded(lambda: _client(uri))()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        return self._guarded(found) if callable(found) else found

    def check_writable(self) -> None:
        """Raise ``RegistryError`` where a run could not be written later."""
        if _scheme(self._uri) == "sqlite" and (path := _sqlite_file(self._uri)) is not None:
            _begin(self._uri, path)
        self.search_experiments(max_results=1)

    def _guarded(self, ask: Callable[..., Any]) -> Callable[..., Any]:
        def asked(*arguments: Any, **named: Any) -> Any:
            with _bounded():
                try:
                    return ask(*arguments, **named)
                # MLflow's stores are plug-ins on drivers of others: they raise what they like.
                except Exception as error:
                    raise fault(self._uri, error) from error

        return asked


def check_setting() -> None:
    """Raise ``RegistryError`` where the variable names what MLflow takes nowhere; asks nobody.

    A server or a database that is away may come yet: that is seen by those who ask it.
    """
    uri = os.environ.get(VARIABLE)
    if uri and _scheme(uri).partition("+")[0] not in (*_HTTP, *_DATABASES):
        MlflowAccess(uri)


def _client(uri: str) -> Any:
    from mlflow import MlflowClient  # noqa: PLC0415 - an optional extra, and slow to load

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def fault(uri: str, error: object) -> RegistryError:
    """The error of ours for what MLflow, or somebody it needs, said."""
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


def _look(uri: str) -> None:
    """Raise ``RegistryError`` where a server or database does not answer within seconds."""
    try:
        scheme = _scheme(uri)
        if scheme in _HTTP:
            _look_at_server(uri)
        elif scheme.partition("+")[0] in _DATABASES:
            _look_at_database(uri)
    except RegistryError:
        raise
    # Drivers of databases have errors of their own, which share no base.
    except Exception as error:
        raise fault(uri, error) from error


def _look_at_server(uri: str) -> None:
    # Whether its certificate is to be trusted is MLflow's business: no secret is sent here.
    health = f"{uri.rstrip('/')}/health"
    answer = httpx.get(health, timeout=_WITHIN_S, verify=False, follow_redirects=True)
    if answer.status_code >= _LEAST_FAULT:
        raise fault(uri, f"answers HTTP {answer.status_code}")


def _look_at_database(uri: str) -> None:
    from sqlalchemy import create_engine  # noqa: PLC0415 - comes with MLflow
    from sqlalchemy.pool import NullPool  # noqa: PLC0415

    kind = _scheme(uri).partition("+")[0]
    if kind == "sqlite" and (path := _sqlite_file(uri)) is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    patience = {_PATIENCE[kind]: int(_WITHIN_S)} if kind in _PATIENCE else {}
    engine = create_engine(uri, poolclass=NullPool, connect_args=patience)
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
            "MLFLOW_TRACKING_TOKEN (or _USERNAME and _PASSWORD) where it wants to know who asks"
        )
    return f"check that it is there and can be written, or set {VARIABLE}=sqlite:///FILE.db"


def _line(error: object) -> str:
    """What an error says, on one line, without secrets."""
    text = _SECRET.sub("***@", " ".join(str(error).split())) or type(error).__name__
    return text if len(text) <= _SAID else f"{text[:_SAID]}..."


@contextmanager
def _bounded() -> Iterator[None]:
    """Bound MLflow's patience and output, which only the environment does."""
    ours = {name: value for name, value in _BOUNDS.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)
