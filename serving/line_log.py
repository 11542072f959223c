"""Writes records to a file without making the engine wait for the disk, and reads them back."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

from predictor.errors import ConfigError
from predictor.reading import Tally

logger = logging.getLogger(__name__)

Record = TypeVar("Record")

_FLUSH_EVERY_S = 0.5


class LineLog(Generic[Record]):
    """Appends records in the background every half second; a dying engine loses no more.

    ``encode`` makes lines of several. Raises ``ConfigError`` for a file that cannot be written;
    what a disk refuses later is dropped, logged once.
    """

    def __init__(self, path: Path, encode: Callable[[Sequence[Record]], str]) -> None:
        try:
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"log file {path}: {error.strerror}; name another") from error
        self._failed = False
        self._encode = encode
        self._pending: list[Record] = []
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="slotwise-log", daemon=True)
        self._thread.start()

    def add(self, record: Record) -> None:
        """Queue one record. Cost: a list append."""
        self._pending.append(record)

    def close(self) -> None:
        """Write what is left and stop."""
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed.wait(_FLUSH_EVERY_S):
            self._write()
        self._write()
        with suppress(OSError):
            self._file.close()

    def _write(self) -> None:
        records, self._pending = self._pending, []
        if not records:
            return
        try:
            self._file.write(self._encode(records))
            self._file.flush()
        except OSError as error:
            if not self._failed:
                logger.error("%s: %s; its lines are dropped", self._file.name, error.strerror)
            self._failed = True


def read_lines(path: Path, decode: Callable[[bytes], Record], *, item: str) -> Iterator[Record]:
    """The records of a log; a last line cut short by a dying engine is skipped.

    Lines for which ``decode`` raises ``SkippedItemError`` are left out and counted as ``item``.
    Raises ``DatasetError`` where no line is left.
    """
    tally = Tally(str(path), item=item)
    with path.open("rb") as lines:
        whole = (line for line in lines if line.endswith(b"\n"))
        numbered = ((f"line {number}", line) for number, line in enumerate(whole, start=1))
        yield from tally.used(numbered, decode)
    if tally.read:
        tally.close("record it again with this version")
