"""Predictions that always come: from the model in time, else the class's prior, counted."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from predictor.errors import ArtifactError, PredictionError
from predictor.prompt import Prompt
from serving.prediction.artifact_copy import artifact_copy
from serving.prediction.forecast import Forecast
from serving.prediction.model_info import CLASS_PRIOR, ModelInfo
from serving.prediction.pool import (
    Part,
    PoolConfig,
    PredictorPool,
    QueueFullError,
    UnavailableError,
)
from serving.prediction.process import worker_command
from serving.prediction.watch import ModelWatch
from serving.predictors import NO_PREDICTOR, predictor_folder
from serving.priors import ClassPriors
from serving.scratch_folder import ScratchFolder
from serving.settings import Settings
from serving.turns import in_turns

logger = logging.getLogger(__name__)

Command = Callable[[Path, str], Sequence[str]]
State = Literal["trained", "fallback", "none"]
Reason = Literal["late", "failed", "unavailable", "queue_full", "no_model"]

# What a prior reaches to for a request that names no limit.
_LONGEST_TOKENS = 16_384

# Between two tries to load a model at the start; it doubles.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 60.0


class PredictionEvents(Protocol):
    """Who is told what happens here."""

    def batch(self, items: int) -> None:
        """A predictor process was given so many prompts."""

    def restart(self) -> None:
        """A predictor process had to be replaced."""

    def fallback(self, reason: Reason, items: int) -> None:
        """So many prompts got their class's prior."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds a caller waits for one prompt, and for many."""

    one_s: float
    bulk_s: float


class PredictionService:
    """Owns the predictor processes in force, and swaps them for others without losing a prompt.

    Nothing here raises for a fault of a predictor: callers get priors.
    """

    def __init__(
        self,
        *,
        source: str | None,
        command: Command = worker_command,
        pool: PoolConfig,
        deadlines: Deadlines,
        priors: ClassPriors,
        events: PredictionEvents,
        on_change: Callable[[ModelInfo], None] = lambda _: None,
        poll_s: float = 0.0,
    ) -> None:
        self._source = source
        self._poll_s = poll_s
        self._watching: asyncio.Task[None] | None = None
        self._command = command
        self._config = pool
        self._deadlines = deadlines
        self._priors = priors
        self._events = events
        self._on_change = on_change
        self._pool: PredictorPool | None = None
        self._reloading = asyncio.Lock()
        self.error: str | None = None

    @classmethod
    def of(
        cls,
        settings: Settings,
        *,
        priors: ClassPriors,
        events: PredictionEvents,
        on_change: Callable[[ModelInfo], None] = lambda _: None,
    ) -> "PredictionService":
        """From the settings."""
        return cls(
            source=None if settings.predictor == NO_PREDICTOR else settings.predictor,
            pool=PoolConfig(
                workers=settings.predictor_workers,
                batch_items=settings.batch_items,
                queue_items=settings.predict_queue_items,
                hang_s=settings.predictor_hang_ms / 1e3,
            ),
            deadlines=Deadlines(
                one_s=settings.predict_deadline_ms / 1e3, bulk_s=settings.bulk_deadline_ms / 1e3
            ),
            priors=priors,
            events=events,
            on_change=on_change,
            poll_s=settings.model_poll_s,
        )

    @property
    def info(self) -> ModelInfo:
        """Which model answers at the moment."""
        return self._pool.info if self._pool is not None and self._pool.alive else CLASS_PRIOR

    @property
    def state(self) -> State:
        """``trained``: a model answers; ``fallback``: learned priors; ``none``: flat priors."""
        if self._pool is not None and self._pool.alive:
            return "trained"
        return "fallback" if self._priors.learned else "none"

    @property
    def queued(self) -> int:
        """Prompts that wait for a predictor."""
        return 0 if self._pool is None else self._pool.queued

    @property
    def workers(self) -> list[int]:
        """Process ids of the predictor."""
        return [] if self._pool is None else self._pool.pids

    async def start(self) -> None:
        """Load the model; one that cannot be loaded is said, and tried again in the background."""
        if self._source is None:
            return
        if self._poll_s:
            watch = ModelWatch(self._source, self.reload, period_s=self._poll_s)
            await watch.look()
            self._watching = asyncio.create_task(watch.run())
            return
        if not await self._try_to_load():
            self._watching = asyncio.create_task(self._load_until_there())

    async def _load_until_there(self) -> None:
        pause_s = _FIRST_PAUSE_S
        await asyncio.sleep(pause_s)
        while self._pool is None and not await self._try_to_load():
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _try_to_load(self) -> bool:
        before = self.error
        try:
            await self.reload()
        except PredictionError as error:
            if str(error) != before:
                logger.error("no predictor: %s; class priors answer; tried again", error)
            return False
        return True

    async def reload(self) -> ModelInfo:
        """Load beside, let it answer the canary batch, swap; raises ``PredictionError``.

        Until the swap, and for good if this raises, the old model answers.
        """
        if self._source is None:
            raise PredictionError(
                "no predictor is configured: set SLOTWISE_PREDICTOR to packaged, or to a trained "
                "predictor's folder"
            )
        async with self._reloading:
            try:
                fresh = await self._new_pool(self._source)
            except PredictionError as error:
                self.error = str(error)
                raise
            old, self._pool, self.error = self._pool, fresh, None
            self._on_change(fresh.info)
            if old is not None:
                await old.stop(drain_s=self._deadlines.bulk_s)
            return fresh.info

    async def _new_pool(self, source: str) -> PredictorPool:
        """Processes that answer from a copy: whatever happens to the folder, restarts find it."""
        copy = await asyncio.to_thread(_copy, source)
        pool = PredictorPool(
            self._config,
            command=self._command(copy.path, Path(source).resolve().name),
            on_batch=self._events.batch,
            on_restart=self._events.restart,
            on_stop=copy.remove,
        )
        await pool.start()
        return pool

    async def stop(self) -> None:
        """End the predictor processes."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        if self._pool is not None:
            await self._pool.stop()
            self._pool = None

    async def one(self, prompt: Prompt) -> Forecast:
        """Predict for one prompt."""
        return (await self._ask([prompt], self._deadlines.one_s))[0]

    async def many(self, prompts: Sequence[Prompt], *, urgent: bool = False) -> list[Forecast]:
        """Predict for many, in order; ``urgent``: in the time that one may take."""
        within_s = self._deadlines.one_s if urgent else self._deadlines.bulk_s
        return await self._ask(prompts, within_s) if prompts else []

    def prior(self, prompt: Prompt) -> Forecast:
        """The forecast of the prompt's class."""
        limit = _LONGEST_TOKENS if prompt.max_tokens is None else prompt.max_tokens
        return Forecast.of(self._priors.prior(prompt.task, limit), "prior")

    async def _ask(self, prompts: Sequence[Prompt], within_s: float) -> list[Forecast]:
        try:
            parts = self._submitted(prompts)
        except PredictionError as error:
            return await self._fallen_back(prompts, _reason(error))
        _, late = await asyncio.wait([part.done for part in parts], timeout=within_s)
        for future in late:
            future.cancel()
        found: list[Forecast] = []
        for part in parts:
            found.extend(await self._result(part))
        return found

    def _submitted(self, prompts: Sequence[Prompt]) -> list[Part]:
        if self._pool is None:
            raise _NoModelError("no model")
        return self._pool.submit(prompts)

    async def _result(self, part: Part) -> list[Forecast]:
        # A future told to cancel is cancelled by now: a plain future needs no turn of the loop.
        if part.done.cancelled():
            return await self._fallen_back(part.prompts, "late")
        error = part.done.exception()
        if error is not None:
            return await self._fallen_back(part.prompts, _reason(error))
        return part.done.result()

    async def _fallen_back(self, prompts: Sequence[Prompt], reason: Reason) -> list[Forecast]:
        self._events.fallback(reason, len(prompts))
        found: list[Forecast] = []
        async for some in in_turns(prompts):
            found.extend(self.prior(prompt) for prompt in some)
        return found


class _NoModelError(PredictionError):
    """None was loaded."""


def _copy(source: str) -> ScratchFolder:
    try:
        with predictor_folder(source) as folder:
            return artifact_copy(folder)
    except ArtifactError as error:
        raise PredictionError(str(error)) from error


def _reason(error: BaseException) -> Reason:
    if isinstance(error, _NoModelError):
        return "no_model"
    if isinstance(error, QueueFullError):
        return "queue_full"
    return "unavailable" if isinstance(error, UnavailableError) else "failed"
