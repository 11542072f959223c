"""MLflow that is away, refuses or is misspelt: our error within seconds, with the way out."""

import socket
import sqlite3
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from time import monotonic

import pytest
from typer.testing import CliRunner

pytest.importorskip("mlflow")

from predictor.errors import RegistryError
from serving.cli.app import app
from training import mlflow_access
from training.mlflow_access import MlflowAccess, check_setting, shown_uri
from training.registry import Registry

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def nobody():
    """An address where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def server():
    """A server that answers whatever is asked with ``status``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(self.server.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        thread = Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def silent():
    """A server that accepts and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize(
    "uri",
    [
        "http://{}", "postgresql://user:s3cret@{}/db", "postgresql+psycopg://u:s3cret@{}/db",
        "mysql+nodriver://u:s3cret@{}/db", "nonsense://{}", "sqlite:////proc/none/x.db",
        "http://[bad",
    ],
)  # fmt: skip
def test_a_store_that_cannot_be_had(uri, nobody):
    with pytest.raises(RegistryError, match=r"MLFLOW_TRACKING_URI .*sqlite:///") as caught:
        MlflowAccess(uri.format(nobody))
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("uri", ["http://{}", "postgresql://u@{}/db"])
def test_a_store_that_never_answers(uri, silent, monkeypatch):
    monkeypatch.setattr(mlflow_access, "_WITHIN_S", 2.0)
    started = monotonic()
    with pytest.raises(RegistryError, match="MLFLOW_TRACKING_URI"):
        MlflowAccess(uri.format(silent))
    assert monotonic() - started < 30


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
def test_a_server_that_refuses(server, status):
    server.status = status
    with pytest.raises(RegistryError, match=rf"MLFLOW_TRACKING_URI .*{status}.*TOKEN"):
        Registry(uri=f"http://127.0.0.1:{server.server_port}").versions()


@pytest.mark.parametrize("uri", ["./mlruns", "file:{}", "{}"])
def test_a_folder_names_the_migration(uri, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(tmp_path / "mlruns"))
    says = r"sqlite:///.*mlflow migrate-filestore.*MLFLOW_ALLOW_FILE_STORE=true"
    for ask in (Registry, check_setting):
        with pytest.raises(RegistryError, match=f"MLFLOW_TRACKING_URI .*{says}"):
            ask()


@pytest.mark.parametrize(
    "command",
    [
        ("models", "list"), ("models", "promote"), ("models", "rollback"),
        ("train", "--register", "--kind", "history", "--output", "out"),
        ("retrain", "--fresh", "nowhere"),
        ("sidecar", "--port", "0", "--predictor", "champion"),
    ],
)  # fmt: skip
def test_every_command_says_so_before_anything_is_done(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "./mlruns")
    done = CliRunner().invoke(app, list(command))
    assert isinstance(done.exception, RegistryError)
    assert "MLFLOW_TRACKING_URI ./mlruns" in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_a_server_that_may_come_yet_stops_no_sidecar(monkeypatch, nobody):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{nobody}")
    check_setting()


def test_a_database_that_cannot_be_written_is_seen_before_a_run(tmp_path):
    registry = Registry(tmp_path / "mlruns")
    registry.check_writable()
    other = sqlite3.connect(tmp_path / "mlruns" / "mlflow.db")
    try:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(RegistryError, match=r"locked.*can be written"):
            registry.check_writable()
    finally:
        other.close()


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "mlflow.db").write_bytes(b"no database at all" * 99)
    with pytest.raises(RegistryError, match="not a database"):
        MlflowAccess(f"sqlite:///{tmp_path}/mlflow.db")


def test_faults_of_any_kind_are_ours(tmp_path, monkeypatch):
    registry = Registry(tmp_path / "mlruns")

    def broken(*args, **kwargs):
        raise KeyError("a plug-in's own")

    monkeypatch.setattr("mlflow.MlflowClient.search_registered_models", broken)
    with pytest.raises(RegistryError, match="a plug-in's own"):
        registry.versions()


def test_names_and_passwords_are_not_shown():
    assert shown_uri("postgresql://user:p%40ss@host/db") == "postgresql://***@host/db"
    assert shown_uri("postgresql://user:p@ss/word@host/db") == "postgresql://***@host/db"
    assert shown_uri("http://host:5000") == "http://host:5000"
