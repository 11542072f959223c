"""Settings for a sidecar inside a test, and one in a process of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx

from serving.settings import Settings

ROOT = Path(__file__).parents[3]


def settings_in(folder: Path, **more: Any) -> Settings:
    """Settings whose files all lie in a folder."""
    return Settings(
        database_url=f"sqlite:///{folder / 'observations.db'}",
        spool=folder / "spool",
        **{
            "predictor": "none",
            "predict_deadline_ms": 5_000,
            "time_box_ms": 10_000,
            **{name: str(it) if isinstance(it, Path) else it for name, it in more.items()},
        },
    )


class Sidecar:
    """``slotwise sidecar`` as users start it."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.log: list[dict[str, Any] | str] = []
        environment = {
            **{
                name: value for name, value in os.environ.items() if not name.startswith("SLOTWISE")
            },
            "PYTHONPATH": str(ROOT),
            "SLOTWISE_PORT": "0",
            "SLOTWISE_DATABASE_URL": f"sqlite:///{folder / 'observations.db'}",
            "SLOTWISE_SPOOL": str(folder / "spool"),
            "SLOTWISE_PREDICT_DEADLINE_MS": "5000",
            "SLOTWISE_PREDICTOR": "none",
            **variables,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from serving.cli import main; main()", "sidecar"],
            env=environment, stderr=subprocess.PIPE, cwd=folder, text=True,
        )  # fmt: skip
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._ready.wait(120), self.log
        self.url = next(
            line["url"] for line in self.log if isinstance(line, dict) and "url" in line
        )

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(json.loads(line) if line.startswith("{") else line)
            if re.search("startup complete", line, re.IGNORECASE):
                self._ready.set()
        self._ready.set()

    def client(self, **more: Any) -> httpx.Client:
        """A client that belongs to the caller."""
        return httpx.Client(base_url=self.url, timeout=30, **more)

    def stop(self, how: int = signal.SIGINT) -> int:
        """End it and wait."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(30)
        self._reader.join(10)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code
