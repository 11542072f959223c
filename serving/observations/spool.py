"""A bounded file of observations that wait for the database to come back."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path

import orjson

from serving.observations.line_file import LineFile, locked_at_once, opened
from serving.observations.observation import Observation
from serving.observations.refused import Refused, RefusedFile

logger = logging.getLogger(__name__)

_FIELDS = {field.name for field in fields(Observation)}
# Of the spool's room.
_REFUSED_SHARE = 0.25


class Spool:
    """JSON lines, written through to the disk before :meth:`append` returns.

    Several processes that write to one database may share the file (an engine's servers, a
    sidecar). Its own lock is held for moments while somebody reads or writes; a second one, beside
    it, by the one process that moves rows to the database, so that nobody waits for a database.
    A third file beside it, ``refused``, keeps what the database does not take. Every fault of the
    disk is a ``StoreError``.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self._path = path
        self._file = LineFile(path, max_bytes=max_bytes)
        self._size, self._count = 0, 0
        self.refused = RefusedFile(
            path.with_name(f"{path.name}.refused"), max_bytes=int(_REFUSED_SHARE * max_bytes)
        )

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

    def append(self, rows: Sequence[Observation]) -> list[Refused]:
        """Add all that JSON can hold, or none; returns the others.

        Raises ``StoreError`` if there is no room or no disk.
        """
        lines: list[bytes] = []
        refused: list[Refused] = []
        for row in rows:
            try:
                lines.append(orjson.dumps(asdict(row)) + b"\n")
            except orjson.JSONEncodeError as error:
                refused.append(Refused(row, f"the spool: {error}"))
        if lines:
            self._file.append(b"".join(lines))
        return refused

    def drain(self, take: Callable[[list[Observation]], bool]) -> int:
        """Hand over what can be read, in order, and forget it if ``take`` says that it is safe.

        How many were forgotten; none while another process does the same.
        """
        with opened(self._path.with_name(f"{self._path.name}.drain")) as gate:
            if not locked_at_once(gate):
                return 0
            whole = self._file.read()
            rows = [row for line in whole.splitlines() if (row := _observation(line)) is not None]
            if not take(rows):
                return 0
            self._file.forget(len(whole))
        return len(rows)


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
