"""A bounded file of observations that wait for the database to come back."""

import fcntl
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import orjson

from predictor.errors import StoreError
from serving.observations.observation import Observation

logger = logging.getLogger(__name__)


class Spool:
    """JSON lines, written through to the disk before :meth:`append` returns.

    Several processes may share the file (an engine's servers, a sidecar): each holds its lock
    while it writes or empties it. It may be read by the process that comes after one that was
    killed: a last line cut short is skipped, whole ones are there.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._size, self._count = -1, 0

    def __len__(self) -> int:
        """Lines in the file; counted anew when its size has changed."""
        try:
            size = self._path.stat().st_size
        except OSError:
            size = 0
        if size != self._size:
            self._size, self._count = size, self._path.read_bytes().count(b"\n") if size else 0
        return self._count

    def append(self, rows: Sequence[Observation]) -> None:
        """Add them all or none; raises ``StoreError`` if there is no room or no disk."""
        lines = b"".join(orjson.dumps(asdict(row)) + b"\n" for row in rows)
        with self._locked() as descriptor:
            # Another process may have died in mid-line; ours must not begin on it.
            _cut_to_whole_lines(descriptor)
            size = os.lseek(descriptor, 0, os.SEEK_END)
            if size + len(lines) > self._max_bytes:
                raise StoreError(f"spool {self._path}: full ({size} bytes)")
            self._write(descriptor, lines, size)

    def drain(self, take: Callable[[list[Observation]], bool]) -> int:
        """Hand over what can be read, in order, and forget it if ``take`` says that it is safe.

        How many were forgotten. Others wait meanwhile. Raises ``StoreError``.
        """
        with self._locked() as descriptor:
            rows = [row for line in _lines(descriptor) if (row := _observation(line)) is not None]
            if not take(rows):
                return 0
            os.ftruncate(descriptor, 0)
        return len(rows)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StoreError(f"spool {self._path}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)

    def _write(self, descriptor: int, lines: bytes, size: int) -> None:
        try:
            written = os.write(descriptor, lines)
            os.fsync(descriptor)
        except OSError as error:
            os.ftruncate(descriptor, size)
            raise StoreError(f"spool {self._path}: {error.strerror}") from error
        if written < len(lines):
            os.ftruncate(descriptor, size)
            raise StoreError(f"spool {self._path}: the disk is full")


def _lines(descriptor: int) -> list[bytes]:
    """The whole lines."""
    size = os.lseek(descriptor, 0, os.SEEK_END)
    return os.pread(descriptor, size, 0).split(b"\n")[:-1]


def _cut_to_whole_lines(descriptor: int) -> None:
    size = os.lseek(descriptor, 0, os.SEEK_END)
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        os.ftruncate(descriptor, os.pread(descriptor, size, 0).rfind(b"\n") + 1)


def _observation(line: bytes) -> Observation | None:
    try:
        row = orjson.loads(line)
        if row["lengths"] is not None:
            row["lengths"] = tuple(row["lengths"])
        return Observation(**row)
    except (ValueError, TypeError, KeyError) as error:
        logger.error("the spool holds a damaged line, which is lost: %s", error)
        return None
