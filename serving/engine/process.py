"""One engine process for the length of a ``with`` block."""

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from predictor.errors import EngineError
from serving.engine.config import HOST, VLLM_SERVER, EngineConfig
from serving.engine.log import LogFollower, last_words

Progress = Callable[[float, str], None]

_GUARD = Path(__file__).with_name("guard.py")
_POLL_S = 0.2
# What the guard may take on top of twice the grace (SIGTERM, SIGKILL) before it is given up.
_GUARD_SLACK_S = 5.0


@dataclass(slots=True)
class EngineProcess:
    """Starts an engine on entry, once its ``/health`` answers, and ends all of it on exit.

    ``log_path`` takes the engine's output. ``start_timeout_s`` is how long a start may take and
    ``grace_s`` how long the engine has to end by itself before it is killed.
    ``on_progress(elapsed_s, phase)`` is called a few times a second during the start.

    Nothing survives, however this process ends (Ctrl-C, SIGTERM, SIGKILL): ``guard.py`` sees to
    that.
    """

    config: EngineConfig
    log_path: Path
    start_timeout_s: float = 900.0
    grace_s: float = 10.0
    on_progress: Progress | None = None
    start_s: float | None = field(default=None, init=False)
    _guard: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def base_url(self) -> str:
        """Where the engine answers, without a path."""
        return self.config.base_url

    def start(self) -> None:
        """Start the engine and wait until it is ready; ``start_s`` then says how long it took."""
        if self.config.server == VLLM_SERVER:
            check_vllm()
        _check_port(self.config.port)
        with ExitStack() as undo:
            undo.callback(self.stop)
            self._launch()
            self._wait_ready()
            undo.pop_all()

    @property
    def session(self) -> int:
        """The session of all processes of the engine, 0 before it starts."""
        return 0 if self._guard is None else self._guard.pid

    def alive(self) -> bool:
        """Whether the engine's first process still runs."""
        return self._guard is not None and self._guard.poll() is None

    def death(self) -> str | None:
        """Say how the engine died by itself, or return ``None`` while it lives."""
        if self._guard is None or self._guard.poll() is None:
            return None
        return (
            f"the engine ended with status {self._guard.returncode}; its last words"
            f" ({self.log_path}):\n{last_words(self.log_path)}"
        )

    def stop(self) -> None:
        """End the engine and wait until all of its processes are gone; harmless when repeated."""
        guard, self._guard = self._guard, None
        if guard is None:
            return
        assert guard.stdin is not None
        guard.stdin.close()
        try:
            guard.wait(2 * self.grace_s + _GUARD_SLACK_S)
        except subprocess.TimeoutExpired:
            guard.kill()
            guard.wait()

    def _launch(self) -> None:
        # -P: the guard's folder holds modules whose names must not hide others.
        guard = (sys.executable, "-P", str(_GUARD), str(self.grace_s))
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("wb") as log:
            self._guard = subprocess.Popen(
                (*guard, *self.config.command()),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.config.environment(),
                start_new_session=True,
            )

    def _wait_ready(self) -> None:
        began = time.monotonic()
        log = LogFollower(self.log_path)
        # No proxy: the engine is on this machine, whatever the environment says.
        with httpx.Client(base_url=self.base_url, timeout=5.0, trust_env=False) as client:
            while not _healthy(client):
                elapsed = time.monotonic() - began
                self._check_start(elapsed)
                if self.on_progress:
                    self.on_progress(elapsed, log.update())
                time.sleep(_POLL_S)
        self.start_s = time.monotonic() - began

    def _check_start(self, elapsed_s: float) -> None:
        """Raise if the engine died or takes too long."""
        if death := self.death():
            raise EngineError(
                f"the engine for model {self.config.model} did not start: {death}\n"
                "remedy: look at the log named above; common causes are a model folder that vLLM"
                " cannot read, too little memory, and a flag it does not know"
            )
        if elapsed_s > self.start_timeout_s:
            raise EngineError(
                f"the engine for model {self.config.model} was not ready after"
                f" {self.start_timeout_s:.0f} s; see {self.log_path}, or allow it more time"
            )


def _healthy(client: httpx.Client) -> bool:
    try:
        return client.get("/health").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def check_vllm() -> None:
    """Raise unless vLLM is installed here."""
    if importlib.util.find_spec("vllm") is None:
        raise EngineError(
            "vLLM is not installed in this Python: run  pip install 'slotwise[cpu]'"
            "  (or 'slotwise[gpu]' on a machine with a GPU)"
        )


def _check_port(port: int) -> None:
    """Raise if something listens on the port, as the server would find out only much later."""
    with socket.socket() as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise EngineError(
                f"port {port} cannot be used ({error.strerror}): end what listens there, or"
                " choose another with --port"
            ) from error
