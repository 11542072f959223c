"""One predictor process, seen from the server."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from pathlib import Path

import orjson

import serving
from predictor.errors import PredictionError
from predictor.prompt import Prompt
from serving.prediction.forecast import Forecast
from serving.prediction.frames import HEADER, MAX_FRAME, decode_forecasts, encode_prompts, frame
from serving.prediction.model_info import ModelInfo

_START_S = 60.0
_STOP_S = 2.0


def worker_command(folder: Path, name: str) -> list[str]:
    """The command line of a predictor process for a stored predictor, called ``name``."""
    return [sys.executable, "-m", "serving.prediction.worker", str(folder), name]


class PredictorProcess:
    """Asked one question at a time; whoever asks next waits for :meth:`predict` to return."""

    def __init__(self, process: Process, info: ModelInfo) -> None:
        self._process = process
        self.info = info

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @classmethod
    async def start(cls, command: Sequence[str]) -> "PredictorProcess":
        """Start it and wait until its model is loaded and has passed the canary batch.

        Raises ``PredictionError`` with what the process said.
        """
        process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, env=_environment()
        )
        try:
            async with asyncio.timeout(_START_S):
                said = orjson.loads(await _read(process))
        except (TimeoutError, ValueError, asyncio.CancelledError) as error:
            await _end(process)
            if isinstance(error, asyncio.CancelledError):
                raise
            raise PredictionError(f"predictor process: no start within {_START_S:g} s") from error
        except PredictionError:
            await _end(process)
            raise
        if "error" in said:
            await _end(process)
            raise PredictionError(str(said["error"]))
        return cls(process, ModelInfo(**said))

    async def predict(self, prompts: Sequence[Prompt], *, within_s: float) -> list[Forecast]:
        """Ask. Raises ``PredictionError`` if it failed; ``TimeoutError`` if it is silent."""
        assert self._process.stdin is not None
        try:
            async with asyncio.timeout(within_s):
                self._process.stdin.write(frame(encode_prompts(prompts)))
                await self._process.stdin.drain()
                return decode_forecasts(await _read(self._process), len(prompts))
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
            raise ProcessGoneError(f"the predictor process died ({error})") from error

    async def wait(self) -> None:
        """Return when it has ended."""
        await self._process.wait()

    async def stop(self) -> None:
        """End it: its input closes, and it is killed if it does not go by itself."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(_STOP_S):
                await self._process.wait()
        except TimeoutError:
            await _end(self._process)

    async def kill(self) -> None:
        """End it now."""
        await _end(self._process)


class ProcessGoneError(PredictionError):
    """The process ended while it was asked."""


def _environment() -> dict[str, str]:
    root = str(Path(serving.__file__).parents[1])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    # Several processes share the cores; a thread pool in each would make all of them slower.
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}


async def _read(process: Process) -> bytes:
    assert process.stdout is not None
    try:
        header = await process.stdout.readexactly(HEADER.size)
        size = HEADER.unpack(header)[0]
        if size > MAX_FRAME:
            raise ProcessGoneError("the predictor process speaks nonsense")
        return await process.stdout.readexactly(size)
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise ProcessGoneError("the predictor process died") from error


async def _end(process: Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()
