"""Writes observations on a thread of its own, all that wait in one transaction."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal

from predictor.errors import StoreError
from serving.observations.observation import Observation
from serving.observations.spool import Spool
from serving.observations.store import ObservationStore, Retention

logger = logging.getLogger(__name__)

Outcome = Literal["stored", "spooled", "dropped"]

_MOST_ROWS = 2_000
_RETRY_S = 1.0
_PRUNE_S = 3_600.0


@dataclass(slots=True)
class _Parcel:
    rows: Sequence[Observation]
    done: Future[Outcome] = field(default_factory=Future)


class ObservationWriter:
    """``submit`` returns a future that is done when the rows outlive this process.

    In the database (``stored``), or in the spool while that is away (``spooled``); it holds a
    ``StoreError`` if neither took them, and they are counted as ``dropped``. The spool is emptied
    into the database every second it is there; ids keep rows from being stored twice.
    """

    def __init__(
        self,
        store: ObservationStore,
        spool: Spool,
        *,
        retention: Retention,
        on_outcome: Callable[[Outcome, int], None] = lambda *_: None,
        retry_s: float = _RETRY_S,
    ) -> None:
        self._store = store
        self._spool = spool
        self._retention = retention
        self._on_outcome = on_outcome
        self._retry_s = retry_s
        self._parcels: queue.SimpleQueue[_Parcel | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="observations", daemon=True)
        self._up = False
        self._retry_at_s = self._prune_at_s = 0.0

    @property
    def up(self) -> bool:
        """Whether the database took what it was last given."""
        return self._up

    @property
    def spooled(self) -> int:
        """How many wait for the database."""
        return len(self._spool)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Write what was submitted, then end."""
        self._parcels.put(None)
        self._thread.join()
        self._store.close()

    def submit(self, rows: Sequence[Observation]) -> Future[Outcome]:
        """Hand rows over; thread-safe, does not block."""
        parcel = _Parcel(rows)
        self._parcels.put(parcel)
        return parcel.done

    def _run(self) -> None:
        open_ = True
        while open_:
            parcels, open_ = self._next_parcels()
            self._empty_spool()
            if parcels:
                self._write(parcels)
            self._prune()

    def _next_parcels(self) -> tuple[list[_Parcel], bool]:
        """All that wait, up to a limit; whether there may be more."""
        parcels: list[_Parcel] = []
        rows = 0
        try:
            while rows < _MOST_ROWS:
                parcel = self._parcels.get(block=not parcels, timeout=self._retry_s)
                if parcel is None:
                    return parcels, False
                parcels.append(parcel)
                rows += len(parcel.rows)
        except queue.Empty:
            pass
        return parcels, True

    def _write(self, parcels: list[_Parcel]) -> None:
        rows = [row for parcel in parcels for row in parcel.rows]
        if self._up and self._stored(rows):
            self._settle(parcels, "stored")
            return
        for parcel in parcels:
            try:
                self._spool.append(parcel.rows)
            except StoreError as error:
                self._on_outcome("dropped", len(parcel.rows))
                parcel.done.set_exception(error)
            else:
                self._settle([parcel], "spooled")

    def _settle(self, parcels: list[_Parcel], outcome: Outcome) -> None:
        for parcel in parcels:
            self._on_outcome(outcome, len(parcel.rows))
            parcel.done.set_result(outcome)

    def _stored(self, rows: Sequence[Observation]) -> bool:
        return self._reached(lambda: self._store.add(rows))

    def _reached(self, use: Callable[[], None]) -> bool:
        """Whether the database did what it was asked."""
        try:
            use()
        except StoreError as error:
            if self._up or not self._retry_at_s:
                logger.error("%s; observations go to the spool until it is back", error)
            self._up = False
            self._retry_at_s = time.monotonic() + self._retry_s
            return False
        if not self._up:
            logger.info("the database takes observations")
        self._up = True
        return True

    def _empty_spool(self) -> None:
        """Bring the spool into the database; also finds out whether that is back."""
        if self._up and not self._spool:
            return
        if not self._up and time.monotonic() < self._retry_at_s:
            return
        if not self._up and not self._reached(self._store.probe):
            return
        try:
            moved = self._spool.drain(self._stored_all)
        except StoreError as error:
            logger.error("%s; what is in it stays there", error)
            return
        if moved:
            logger.info("%d observations of the spool are in the database", moved)

    def _stored_all(self, rows: Sequence[Observation]) -> bool:
        parts = range(0, len(rows), _MOST_ROWS)
        return all(self._stored(rows[first : first + _MOST_ROWS]) for first in parts)

    def _prune(self) -> None:
        if not self._up or time.monotonic() < self._prune_at_s:
            return
        self._prune_at_s = time.monotonic() + _PRUNE_S
        try:
            gone = self._store.prune(self._retention)
        except StoreError as error:
            logger.warning("old observations stay for now: %s", error)
            return
        if gone:
            logger.info("%d observations were too old or too many", gone)
