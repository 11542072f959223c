"""A bounded file of lines that several processes write to."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from predictor.errors import StoreError


class LineFile:
    """Lines are written through to the disk before :meth:`append` returns.

    The file is locked for moments while somebody reads or writes. Of a process that was killed
    a last line cut short is dropped, whole ones are there. Faults of the disk are ``StoreError``.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self.path = path
        self._max_bytes = max_bytes

    def append(self, lines: bytes) -> None:
        """Add them all or none; raises ``StoreError`` if there is no room or no disk."""
        with self.locked() as descriptor:
            # Another process may have died in mid-line; ours must not begin on it.
            _cut_to_whole_lines(descriptor)
            size = os.lseek(descriptor, 0, os.SEEK_END)
            if size + len(lines) > self._max_bytes:
                raise StoreError(f"spool {self.path}: full ({size} bytes)")
            self._write(descriptor, lines, size)

    def read(self) -> bytes:
        """All whole lines."""
        with self.locked() as descriptor:
            return _whole_lines(descriptor)

    def forget(self, first: int) -> None:
        """Drop the ``first`` bytes; what came since moves there."""
        with self.locked() as descriptor:
            size = os.lseek(descriptor, 0, os.SEEK_END)
            rest = os.pread(descriptor, size - first, first)
            os.pwrite(descriptor, rest, 0)
            os.ftruncate(descriptor, len(rest))
            os.fsync(descriptor)

    @contextmanager
    def locked(self) -> Iterator[int]:
        """The open file, with nobody else at it."""
        with opened(self.path) as descriptor:
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
            raise StoreError(f"spool {self.path}: the disk is full")


@contextmanager
def opened(path: Path) -> Iterator[int]:
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


def locked_at_once(descriptor: int) -> bool:
    """Whether nobody else holds the lock."""
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
