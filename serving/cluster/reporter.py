"""A replica's own view of its engine, and what it posts of it."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from predictor.errors import InputError
from serving.cluster.report import ReplicaReport
from serving.digest_file import EngineReport, read_report

logger = logging.getLogger(__name__)

# Nothing new is said again after this long, so that a silent replica is a dead one.
HEARTBEAT_S = 1.0


@dataclass(slots=True)
class Reporter:
    """Reads ``path`` every ``period_s`` and posts what is new, and a heartbeat.

    An engine that has requests and says nothing for ``hang_s`` hangs, which ``on_hang`` is told,
    and one for which ``alive`` raises is dead: neither is ``healthy``. An engine that is idle makes
    no steps and says nothing either; what it said last then counts as of now, without requests.
    """

    path: Path
    replica: str
    rank: int
    model: str
    named: str
    period_s: float
    hang_s: float
    post: Callable[[ReplicaReport], Awaitable[None]]
    alive: Callable[[], Awaitable[None]]
    on_hang: Callable[[], None]
    clock: Callable[[], float] = time.monotonic
    in_flight: int = 0
    _last: EngineReport | None = None
    _changed_s: float = 0.0
    _busy_since_s: float = 0.0
    _posted_s: float = field(default=-HEARTBEAT_S)
    _posted: ReplicaReport | None = None
    _unreadable: bool = False
    _ended: bool = False

    def entered(self) -> None:
        """A request came."""
        if not self.in_flight:
            self._busy_since_s = self.clock()
        self.in_flight += 1

    def left(self) -> None:
        """And went."""
        self.in_flight -= 1

    @property
    def hangs(self) -> bool:
        """Whether the engine owes an answer and has said nothing for too long.

        Before its first report it may be compiling, or have no latency model: nobody can tell.
        While an operator has paused it, it owes nothing.
        """
        if not self.in_flight or self._last is None or self._last.digest.paused:
            return False
        return self.clock() - max(self._changed_s, self._busy_since_s) > self.hang_s

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.look()
            except Exception:
                # Who stops reporting gets no requests any more: nothing may end this.
                logger.exception("this look at the engine failed")
            await asyncio.sleep(self.period_s)

    async def look(self) -> None:
        """Post if there is something to say."""
        fresh = self._read()
        if fresh is None:
            self._last = None
        elif self._last is None or fresh.serial != self._last.serial:
            self._last, self._changed_s = fresh, self.clock()
        report = self._report(healthy=await self._healthy())
        now_s = self.clock()
        quiet = self._posted is not None and _same(report, self._posted)
        if quiet and now_s - self._posted_s < HEARTBEAT_S:
            return
        self._posted, self._posted_s = report, now_s
        await self.post(report)

    def _read(self) -> EngineReport | None:
        """What the engine said last; nothing where it cannot be read."""
        try:
            return read_report(self.path)
        except (InputError, OSError) as error:
            if not self._unreadable:
                logger.error("the engine's report cannot be read: %s; logged once", error)
            self._unreadable = True
            return None

    def _report(self, *, healthy: bool) -> ReplicaReport:
        last = self._last
        if last is None:
            return ReplicaReport(self.replica, self.rank, self.model, self.named, healthy=healthy)
        idle = not self.in_flight
        digest = last.digest.idle() if idle else last.digest
        return ReplicaReport(
            replica=self.replica,
            rank=self.rank,
            model=self.model,
            named=self.named,
            digest=digest.to_bytes(),
            age_s=0.0 if idle else self.clock() - self._changed_s,
            healthy=healthy,
            untrained=last.untrained,
            fallbacks=last.fallbacks,
        )

    async def _healthy(self) -> bool:
        try:
            await self.alive()
        except Exception as error:  # noqa: BLE001 - vLLM's reasons to be dead are its own
            if not self._ended:
                logger.error("the engine is dead: %r", error)
            self._ended = True
            return False
        if self.hangs and not self._ended:
            logger.error("the engine hangs with %d requests: it is ended", self.in_flight)
            self._ended = True
            self.on_hang()
        return not self.hangs


def _same(report: ReplicaReport, other: ReplicaReport) -> bool:
    return (report.digest, report.healthy) == (other.digest, other.healthy)
