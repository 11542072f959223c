"""Writes records to a file without making the engine wait for the disk."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TextIO, TypeVar

Record = TypeVar("Record")

_FLUSH_EVERY_S = 0.5


class LineLog(Generic[Record]):
    """Appends records in the background every half second; a dying engine loses no more.

    ``encode`` makes lines of several.
    """

    def __init__(self, path: Path, encode: Callable[[Sequence[Record]], str]) -> None:
        self._path = path
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
        with self._path.open("a", encoding="utf-8") as file:
            while not self._closed.wait(_FLUSH_EVERY_S):
                self._write(file)
            self._write(file)

    def _write(self, file: TextIO) -> None:
        records, self._pending = self._pending, []
        if records:
            file.write(self._encode(records))
            file.flush()
