"""A bounded file of observations that wait for the database to come back."""

import logging
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import orjson

from predictor.errors import StoreError
from serving.observations.observation import Observation

logger = logging.getLogger(__name__)


class Spool:
    """JSON lines, written through to the disk before :meth:`append` returns.

    It may be read by the process that comes after one that was killed: a last line cut short is
    skipped, whole ones are there.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._count = sum(1 for _ in self._lines())

    def __len__(self) -> int:
        return self._count

    def append(self, rows: Sequence[Observation]) -> None:
        """Add them all or none; raises ``StoreError`` if there is no room or no disk."""
        lines = b"".join(orjson.dumps(asdict(row)) + b"\n" for row in rows)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise StoreError(f"spool {self._path}: {error.strerror}") from error
        try:
            self._write(descriptor, lines)
        finally:
            os.close(descriptor)
        self._count += len(rows)

    def read(self) -> list[Observation]:
        """Everything in it that can be read, in order."""
        return [row for line in self._lines() if (row := _observation(line)) is not None]

    def clear(self) -> None:
        """Forget everything in it."""
        self._path.unlink(missing_ok=True)
        self._count = 0

    def _write(self, descriptor: int, lines: bytes) -> None:
        size = os.fstat(descriptor).st_size
        if size + len(lines) > self._max_bytes:
            raise StoreError(f"spool {self._path}: full ({size} bytes)")
        try:
            written = os.write(descriptor, lines)
            os.fsync(descriptor)
        except OSError as error:
            os.ftruncate(descriptor, size)
            raise StoreError(f"spool {self._path}: {error.strerror}") from error
        if written < len(lines):
            os.ftruncate(descriptor, size)
            raise StoreError(f"spool {self._path}: the disk is full")

    def _lines(self) -> list[bytes]:
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(f"spool {self._path}: {error.strerror}") from error
        *whole, cut = content.split(b"\n")
        if cut:
            # Of a process that was killed while it wrote; the next line must not begin on it.
            os.truncate(self._path, len(content) - len(cut))
        return whole


def _observation(line: bytes) -> Observation | None:
    try:
        row = orjson.loads(line)
        if row["lengths"] is not None:
            row["lengths"] = tuple(row["lengths"])
        return Observation(**row)
    except (ValueError, TypeError, KeyError) as error:
        logger.error("the spool holds a damaged line, which is lost: %s", error)
        return None
