"""A bounded file of observations that wait for the database to come back."""

import fcntl
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path

import orjson

from predictor.errors import StoreError
from serving.observations.observation import Observation

logger = logging.getLogger(__name__)

_FIELDS = {field.name for field in fields(Observation)}


class Spool:
    """JSON lines, written through to the disk before :meth:`append` returns.

    Several processes that write to one database may share the file (an engine's servers, a
    sidecar). Its own lock is held for moments while somebody reads or writes; a second one, beside
    it, by the one process that moves rows to the database, so that nobody waits for a database.
    The process that comes after one that was killed may read it: a last line cut short is
    dropped, whole ones are there. Every fault of the disk is a ``StoreError``.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._size, self._count = 0, 0

    def __len__(self) -> int:
        """Lines in the file, 0 where it cannot be read; only what is new since is read."""
        try:
            size = self._path.stat().st_size
            first = self._size if size >= self._size else 0
            if size != self._size:
                with self._path.open("rb") as file:
                    file.seek(first)
                    fresh = file.read().count(b"\n")
                self._size, self._count = size, fresh + (self._count if first else 0)
        except OSError:
            self._size, self._count = 0, 0
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

        How many were forgotten; none while another process does the same.
        """
        with _opened(self._path.with_name(f"{self._path.name}.drain")) as gate:
            if not _locked_at_once(gate):
                return 0
            with self._locked() as descriptor:
                whole = _whole_lines(descriptor)
            rows = [row for line in whole.splitlines() if (row := _observation(line)) is not None]
            if not take(rows):
                return 0
            with self._locked() as descriptor:
                _forget(descriptor, len(whole))
        return len(rows)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        with _opened(self._path) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor

    def _write(self, descriptor: int, lines: bytes, size: int) -> None:
        try:
            written = os.write(descriptor, lines)
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)
            raise
        if written < len(lines):
            os.ftruncate(descriptor, size)
            raise StoreError(f"spool {self._path}: the disk is full")


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """The file, unlocked afterwards; its faults are ``StoreError``."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            yield descriptor
        finally:
            # Unlocked by name: a child that was forked meanwhile holds the file open, too.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)
    except OSError as error:
        raise StoreError(f"spool {path}: {error.strerror}") from error


def _locked_at_once(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _whole_lines(descriptor: int) -> bytes:
    content = os.pread(descriptor, os.lseek(descriptor, 0, os.SEEK_END), 0)
    return content[: content.rfind(b"\n") + 1]


def _cut_to_whole_lines(descriptor: int) -> None:
    size = os.lseek(descriptor, 0, os.SEEK_END)
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        os.ftruncate(descriptor, len(_whole_lines(descriptor)))


def _forget(descriptor: int, first: int) -> None:
    """Drop so many bytes at the beginning; what came since moves there."""
    size = os.lseek(descriptor, 0, os.SEEK_END)
    rest = os.pread(descriptor, size - first, first)
    os.pwrite(descriptor, rest, 0)
    os.ftruncate(descriptor, len(rest))
    os.fsync(descriptor)


def _observation(line: bytes) -> Observation | None:
    try:
        row = orjson.loads(line)
        if row["lengths"] is not None:
            row["lengths"] = tuple(row["lengths"])
        # A newer Slotwise may have written more.
        return Observation(**{name: row[name] for name in row.keys() & _FIELDS})
    except (ValueError, TypeError, KeyError) as error:
        logger.error("the spool holds a damaged line, which is lost: %s", error)
        return None
