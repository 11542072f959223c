"""Sidecars for the tests: one inside the test, and processes of their own."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the sidecar is not installed (extra: serving)")

from fastapi.testclient import TestClient
from sidecars import Sidecar, settings_in

from predictor.history import HistoryPredictor
from predictor.prompt import Prompt
from serving.sidecar.app import create_app


@pytest.fixture(scope="session")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained predictor: chat answers have 1 to 100 tokens, code 200 to 299."""
    folder = tmp_path_factory.mktemp("predictors") / "history"
    prompts = [Prompt("", "chat")] * 100 + [Prompt("", "code")] * 100
    lengths = [*range(1, 101), *range(200, 300)]
    HistoryPredictor.fit(prompts, lengths).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, predictor: Path) -> Iterator[TestClient]:
    """A sidecar with a trained predictor."""
    folder = tmp_path_factory.mktemp("sidecar")
    with TestClient(create_app(settings_in(folder, predictor=predictor))) as used:
        yield used


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    """Starts sidecars in the test's folder; ends those still there."""
    started: list[Sidecar] = []

    def one(**variables: str) -> Sidecar:
        started.append(Sidecar(tmp_path, **variables))
        return started[-1]

    yield one
    for each in started:
        each.stop(signal.SIGKILL)
