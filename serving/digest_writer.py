"""An engine's reports of how it is, at a bounded rate."""

import contextlib
import logging
import math
from dataclasses import dataclass
from pathlib import Path

from scheduler.driver import Driver
from scheduler.placement.digest import Digest
from serving.digest_file import EngineReport, write_report

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class DigestWriter:
    """Writes ``path``, and nothing before a latency model is there.

    :meth:`look` does it at most once in ``period_s``, :meth:`report` at once.
    """

    path: Path
    period_s: float
    _due_s: float = -math.inf
    _serial: int = 0
    _broken: bool = False

    def look(self, driver: Driver, *, now_s: float, kv_tokens_free: int) -> None:
        """Report if it is time."""
        if now_s >= self._due_s:
            self.report(driver, now_s=now_s, kv_tokens_free=kv_tokens_free)

    def report(self, driver: Driver, *, now_s: float, kv_tokens_free: int) -> None:
        """Say how the engine is."""
        if driver.latency is None:
            return
        self._due_s = now_s + self.period_s
        self._serial += 1
        try:
            snapshot = driver.snapshot(now_s=now_s, kv_tokens_free=kv_tokens_free)
            report = EngineReport(
                self._serial, driver.untrained, driver.fallbacks, Digest.of(snapshot)
            )
            write_report(self.path, report)
        except Exception as error:  # noqa: BLE001 - routers do without, and no fault stops an engine
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Say it once. Without a file nobody takes the engine for one that hangs."""
        if not self._broken:
            logger.warning("no digests for routers: %s (%r); logged once", self.path, error)
        self._broken = True
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
