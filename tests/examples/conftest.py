"""Runs the examples as their docstrings say."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from waiting import HANG_S

ROOT = Path(__file__).parents[2]

Run = Callable[..., str]


@pytest.fixture
def run() -> Run:
    """What a program prints, started in the root of the repository; it must end well."""

    def one(*command: str | Path, **variables: str) -> str:
        done = subprocess.run(
            [sys.executable, *map(str, command)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=HANG_S,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return one


@pytest.fixture
def slotwise(run: Run) -> Run:
    """The same for the command line."""
    return lambda *arguments, **variables: run(
        *("-c", "from serving.cli import main; main()", *arguments), **variables
    )
