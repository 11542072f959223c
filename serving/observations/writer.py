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
from serving.observations.refused import Refused
from serving.observations.spool import Spool
from serving.observations.store import ObservationStore, Retention

logger = logging.getLogger(__name__)

Outcome = Literal["stored", "spooled", "refused", "dropped"]

_MOST_ROWS = 2_000
_RETRY_S = 1.0
_PRUNE_S = 3_600.0


@dataclass(slots=True)
class _Parcel:
    rows: Sequence[Observation]
    done: Future[Outcome] = field(default_factory=Future)

    def take(self) -> None:
        """The future can no longer be cancelled; rows of one that was cancelled are kept."""
        self.done.set_running_or_notify_cancel()

    def settle(self, outcome: Outcome) -> None:
        """Tell whoever waits."""
        if not self.done.done():
            self.done.set_result(outcome)

    def fail(self, error: StoreError) -> bool:
        """The same; whether it was not settled before."""
        if self.done.done():
            return False
        self.done.set_exception(error)
        return True


class ObservationWriter:
    """``submit`` returns a future that is done when the rows outlive this process.

    In the database (``stored``), or in the spool while that is away (``spooled``); it holds a
    ``StoreError`` if neither took them, and they are counted as ``dropped``. The spool is emptied
    into the database every second it is there; ids keep rows from being stored twice. Rows that
    the database refuses for what is in them are put aside beside the spool and counted
    (``refused``); the future says so where none of its rows was taken.
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
        self._thread: threading.Thread | None = None
        self._stopped = False
        # Held while the thread is started, ended, or given something.
        self._gate = threading.RLock()
        self._up = False
        self._retry_at_s = self._prune_at_s = 0.0
        # Rows put aside since the start.
        self.refused = 0

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
        self._thread = threading.Thread(target=self._run, name="observations", daemon=True)
        self._thread.start()

    def revive(self) -> bool:
        """Whether the thread lives; one that died is started again if the system allows it."""
        with self._gate:
            if self._thread is None or self._stopped:
                return False
            if self._thread.is_alive():
                return True
            logger.error("the thread that stores observations has died; it is started again")
            try:
                self.start()
            except RuntimeError as error:
                logger.error("no thread for observations: %s", error)
                return False
            return True

    def stop(self) -> None:
        """Write what was submitted, then end."""
        with self._gate:
            self.revive()
            self._stopped = True
            self._parcels.put(None)
        if self._thread is not None:
            self._thread.join()
        self._store.close()

    def submit(self, rows: Sequence[Observation]) -> Future[Outcome]:
        """Hand rows over; thread-safe, does not wait for a disk."""
        parcel = _Parcel(rows)
        with self._gate:
            if not self._stopped and (self._thread is None or self.revive()):
                self._parcels.put(parcel)
                return parcel.done
        self._lose([parcel], StoreError("nothing stores observations at the moment"))
        return parcel.done

    def _run(self) -> None:
        """The thread's border: whatever goes wrong with some rows, the next ones are written."""
        open_ = True
        while open_:
            parcels, open_ = self._next_parcels()
            try:
                self._empty_spool()
                if parcels:
                    self._write(parcels)
                self._prune()
            except BaseException as error:
                logger.exception("observations were not written; the next ones will be")
                self._lose(parcels, StoreError(f"observations were not written: {error!r}"))
                if not isinstance(error, Exception):
                    raise

    def _next_parcels(self) -> tuple[list[_Parcel], bool]:
        """All that wait, up to a limit; whether there may be more."""
        parcels: list[_Parcel] = []
        rows = 0
        try:
            while rows < _MOST_ROWS:
                parcel = self._parcels.get(block=not parcels, timeout=self._retry_s)
                if parcel is None:
                    return parcels, False
                parcel.take()
                parcels.append(parcel)
                rows += len(parcel.rows)
        except queue.Empty:
            pass
        return parcels, True

    def _write(self, parcels: list[_Parcel]) -> None:
        rows = [row for parcel in parcels for row in parcel.rows]
        refused = self._stored(rows) if self._up else None
        if refused is not None:
            self._settle(parcels, "stored", refused)
            return
        for parcel in parcels:
            try:
                refused = self._spool.append(parcel.rows)
            except StoreError as error:
                self._lose([parcel], error)
            else:
                self._settle([parcel], "spooled", refused)

    def _settle(self, parcels: list[_Parcel], outcome: Outcome, refused: Sequence[Refused]) -> None:
        self._put_aside(refused)
        bad = {id(each.row) for each in refused}
        for parcel in parcels:
            taken = sum(id(row) not in bad for row in parcel.rows)
            if taken:
                self._on_outcome(outcome, taken)
            parcel.settle(outcome if taken or not parcel.rows else "refused")

    def _put_aside(self, refused: Sequence[Refused]) -> None:
        if refused:
            self._spool.refused.append(refused)
            self.refused += len(refused)
            self._on_outcome("refused", len(refused))

    def _lose(self, parcels: Sequence[_Parcel], error: StoreError) -> None:
        lost = sum(len(parcel.rows) for parcel in parcels if parcel.fail(error))
        if lost:
            self._on_outcome("dropped", lost)

    def _stored(self, rows: Sequence[Observation]) -> list[Refused] | None:
        """The rows that were refused; ``None`` while the database is away."""
        refused: list[Refused] = []

        def add() -> None:
            refused.extend(self._store.add(rows))

        return refused if self._reached(add) else None

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
        for first in range(0, len(rows), _MOST_ROWS):
            refused = self._stored(rows[first : first + _MOST_ROWS])
            if refused is None:
                return False
            self._put_aside(refused)
        return True

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
