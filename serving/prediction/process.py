"""One predictor process, seen from the server."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from contextlib import suppress
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
    # -P: packages in the folder this runs in must not hide ours.
    return [sys.executable, "-P", "-m", "serving.prediction.worker", str(folder), name]


class PredictorProcess:
    """Asked one question at a time; whoever asks next waits for :meth:`predict` to return.

    A question that is not answered in full, by number and in time, ends the process: nothing that
    it writes later is ever read.
    """

    def __init__(self, process: Process, info: ModelInfo) -> None:
        self._process = process
        self._asked = 0
        self._usable = True
        self.info = info

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @classmethod
    async def start(cls, command: Sequence[str]) -> "PredictorProcess":
        """Start it and wait until its model is loaded and has passed the canary batch.

        Raises ``PredictionError`` with what the process said, ``SpawnError`` without a process.
        """
        process = await _spawned(command)
        try:
            return cls(process, await _greeting(process))
        except BaseException:
            await _end(process)
            raise

    async def predict(self, prompts: Sequence[Prompt], *, within_s: float) -> list[Forecast]:
        """Ask. Raises ``PredictionError`` if the predictor failed and can be asked again.

        ``ProcessGoneError``: it died, was silent for too long or answered something else; it is
        ended.
        """
        question = encode_prompts(prompts)
        if not self._usable:
            raise ProcessGoneError("the predictor process was given up")
        self._usable = False
        self._asked += 1
        try:
            async with asyncio.timeout(within_s):
                reply = await self._exchange(frame(self._asked, question))
            forecasts = decode_forecasts(reply, len(prompts))
        except TimeoutError as error:
            raise ProcessGoneError(f"no forecast within {within_s:g} s") from error
        except OSError as error:
            raise ProcessGoneError(f"the predictor process died ({error})") from error
        except ValueError as error:
            raise ProcessGoneError(f"the predictor process speaks nonsense ({error})") from error
        except PredictionError as error:
            self._usable = not isinstance(error, ProcessGoneError)
            raise
        else:
            self._usable = True
            return forecasts
        finally:
            if not self._usable:
                _kill(self._process)

    async def _exchange(self, question: bytes) -> bytes:
        assert self._process.stdin is not None
        self._process.stdin.write(question)
        await self._process.stdin.drain()
        return await _read(self._process, number=self._asked)

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
    """The process cannot be asked any more."""


class SpawnError(PredictionError):
    """The system starts no process at the moment."""


async def _spawned(command: Sequence[str]) -> Process:
    try:
        return await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, env=_environment()
        )
    # Without room for a thread that waits for the process, a RuntimeError.
    except (OSError, RuntimeError) as error:
        raise SpawnError(f"no process can be started ({error})") from error


async def _greeting(process: Process) -> ModelInfo:
    try:
        async with asyncio.timeout(_START_S):
            said = orjson.loads(await _read(process, number=0))
        if "error" in said:
            raise PredictionError(str(said["error"]))
        return ModelInfo(**said)
    except TimeoutError as error:
        raise PredictionError(f"predictor process: no start within {_START_S:g} s") from error
    except (ValueError, TypeError) as error:
        raise PredictionError(f"predictor process: no greeting ({error})") from error


def _environment() -> dict[str, str]:
    root = str(Path(serving.__file__).parents[1])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    # Several processes share the cores; a thread pool in each would make all of them slower.
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}


async def _read(process: Process, *, number: int) -> bytes:
    """The next frame, which must bear that number."""
    assert process.stdout is not None
    try:
        size, given = HEADER.unpack(await process.stdout.readexactly(HEADER.size))
        if size > MAX_FRAME or given != number:
            raise ProcessGoneError(
                f"the predictor process answered {given}, {size} bytes, when asked {number}"
            )
        return await process.stdout.readexactly(size)
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise ProcessGoneError("the predictor process died") from error


async def _end(process: Process) -> None:
    _kill(process)
    await process.wait()


def _kill(process: Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
