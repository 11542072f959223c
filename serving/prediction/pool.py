"""Predictor processes that share one queue, each given as many prompts as wait for it."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from predictor.errors import PredictionError
from predictor.prompt import Prompt
from serving.prediction.forecast import Forecast
from serving.prediction.model_info import ModelInfo
from serving.prediction.process import PredictorProcess, ProcessGoneError

logger = logging.getLogger(__name__)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 10.0


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """``hang_s`` of silence on one batch is a hang."""

    workers: int = 1
    batch_items: int = 64
    queue_items: int = 50_000
    hang_s: float = 1.0


@dataclass(slots=True)
class Part:
    """Prompts of one caller that are predicted together, and the promise of their forecasts."""

    prompts: Sequence[Prompt]
    done: asyncio.Future[list[Forecast]]


class PredictorPool:
    """Batches by itself: while a process works, what arrives is its next batch.

    ``on_batch`` is told the size of each batch, ``on_restart`` of each process that had to be
    replaced. ``command`` starts a process. Jobs whose future is done already (a caller that gave
    up) are left out.
    """

    def __init__(
        self,
        config: PoolConfig,
        *,
        command: Sequence[str],
        on_batch: Callable[[int], None] = lambda _: None,
        on_restart: Callable[[], None] = lambda: None,
        on_stop: Callable[[], None] = lambda: None,
    ) -> None:
        self._config = config
        self._command = command
        self._on_batch = on_batch
        self._on_restart = on_restart
        self._on_stop = on_stop
        self._jobs: deque[Part] = deque()
        self._queued = 0
        self._more = asyncio.Event()
        self._alive: set[PredictorProcess] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._busy = 0
        self._info: ModelInfo | None = None

    @property
    def info(self) -> ModelInfo:
        """Which model answers."""
        assert self._info is not None, "not started"
        return self._info

    @property
    def alive(self) -> int:
        """Processes that can answer."""
        return len(self._alive)

    @property
    def queued(self) -> int:
        """Prompts that wait for a process."""
        return self._queued

    @property
    def pids(self) -> list[int]:
        """Of the processes alive."""
        return [process.pid for process in self._alive]

    async def start(self) -> None:
        """Start all processes. Raises ``PredictionError`` if one cannot, and leaves none behind."""
        started = await asyncio.gather(
            *(PredictorProcess.start(self._command) for _ in range(self._config.workers)),
            return_exceptions=True,
        )
        good = [each for each in started if isinstance(each, PredictorProcess)]
        bad = [each for each in started if isinstance(each, BaseException)]
        versions = {process.info for process in good}
        if bad or len(versions) != 1:
            await asyncio.gather(*(process.stop() for process in good))
            self._on_stop()
            raise bad[0] if bad else PredictionError("the artifact changed while it was loaded")
        self._info = versions.pop()
        self._alive = set(good)
        self._tasks = [asyncio.create_task(self._work(process)) for process in good]

    async def stop(self, *, drain_s: float = 5.0) -> None:
        """End the processes after what is queued is answered, or ``drain_s`` has passed."""
        deadline_s = asyncio.get_running_loop().time() + drain_s
        while (self._jobs or self._busy) and self._alive:
            if asyncio.get_running_loop().time() > deadline_s:
                break
            await asyncio.sleep(0.01)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(process.stop() for process in self._alive))
        self._alive.clear()
        self._fail_all("the predictor was stopped")
        self._on_stop()

    def submit(self, prompts: Sequence[Prompt]) -> list[Part]:
        """Queue prompts, in parts that keep all processes busy, in order.

        Raises ``PredictionError`` at once if nobody is there to answer or the queue is full.
        """
        if not self._alive:
            raise UnavailableError("no predictor process is alive")
        if self._queued + len(prompts) > self._config.queue_items:
            raise QueueFullError(f"{self._queued} prompts wait for the predictor already")
        size = min(self._config.batch_items, -(-len(prompts) // self._config.workers))
        loop = asyncio.get_running_loop()
        parts = []
        for first in range(0, len(prompts), size):
            job = Part(prompts[first : first + size], loop.create_future())
            self._jobs.append(job)
            parts.append(job)
        self._queued += len(prompts)
        self._more.set()
        return parts

    async def _work(self, process: PredictorProcess) -> None:
        gone = asyncio.create_task(process.wait())
        try:
            while True:
                batch = await self._next_batch(gone)
                if not batch or not await self._answer(process, batch):
                    process = await self._replaced(process)
                    gone = asyncio.create_task(process.wait())
        finally:
            gone.cancel()

    async def _next_batch(self, gone: "asyncio.Task[None]") -> list[Part]:
        """What waits, as soon as something does; nothing once the process is gone."""
        while not gone.done():
            batch: list[Part] = []
            room = self._config.batch_items
            while self._jobs and (not batch or len(self._jobs[0].prompts) <= room):
                job = self._jobs.popleft()
                self._queued -= len(job.prompts)
                if not job.done.done():
                    batch.append(job)
                    room -= len(job.prompts)
            if batch:
                return batch
            self._more.clear()
            more = asyncio.create_task(self._more.wait())
            await asyncio.wait((more, gone), return_when=asyncio.FIRST_COMPLETED)
            more.cancel()
        return []

    async def _answer(self, process: PredictorProcess, batch: list[Part]) -> bool:
        """Whether the process can be asked again."""
        prompts = [prompt for job in batch for prompt in job.prompts]
        self._on_batch(len(prompts))
        self._busy += 1
        try:
            forecasts = await process.predict(prompts, within_s=self._config.hang_s)
        except ProcessGoneError as error:
            _fail(batch, error)
            return False
        except PredictionError as error:
            logger.warning("a batch of %d prompts: %s", len(prompts), error)
            return await self._one_by_one(process, batch, error)
        finally:
            self._busy -= 1
        first = 0
        for job in batch:
            if not job.done.done():
                job.done.set_result(forecasts[first : first + len(job.prompts)])
            first += len(job.prompts)
        return True

    async def _one_by_one(
        self, process: PredictorProcess, batch: list[Part], error: PredictionError
    ) -> bool:
        """A prompt that cannot be predicted must not take its neighbours' answers away.

        Whether the process can be asked again. If not, the parts not asked yet wait for another.
        """
        if len(batch) == 1:
            _fail(batch, error)
            return True
        for place, job in enumerate(batch):
            if job.done.done():
                continue
            try:
                found = await process.predict(job.prompts, within_s=self._config.hang_s)
            except ProcessGoneError as fault:
                _fail([job], fault)
                self._put_back(batch[place + 1 :])
                return False
            except PredictionError as fault:
                _fail([job], fault)
            else:
                if not job.done.done():
                    job.done.set_result(found)
        return True

    def _put_back(self, jobs: Sequence[Part]) -> None:
        self._jobs.extendleft(reversed(jobs))
        self._queued += sum(len(job.prompts) for job in jobs)
        self._more.set()

    async def _replaced(self, process: PredictorProcess) -> PredictorProcess:
        """Kill a process that hangs or is gone, and start another, for as long as it takes."""
        logger.error("predictor process %d is gone or hangs; starting another", process.pid)
        self._alive.discard(process)
        if not self._alive:
            self._fail_all("no predictor process is alive")
        await process.kill()
        pause_s = _FIRST_PAUSE_S
        while True:
            self._on_restart()
            try:
                fresh = await PredictorProcess.start(self._command)
            except PredictionError as error:
                logger.error("predictor process: %s; trying again in %g s", error, pause_s)
            else:
                self._alive.add(fresh)
                return fresh
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _fail_all(self, why: str) -> None:
        waiting, self._queued = list(self._jobs), 0
        self._jobs.clear()
        _fail(waiting, UnavailableError(why))


class UnavailableError(PredictionError):
    """Nobody is there to answer."""


class QueueFullError(PredictionError):
    """Too many wait already."""


def _fail(batch: Sequence[Part], error: PredictionError) -> None:
    for job in batch:
        if not job.done.done():
            job.done.set_exception(error)
            job.done.exception()  # retrieved: whoever asked may have gone
