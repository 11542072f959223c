"""Shards: the finished parts of a collection, on disk before the whole is.

A shard is a file in the format of the whole, written in one step into a folder beside it. Joining
puts what all of them hold into the whole and takes them away, so that it does not matter how an
earlier run cut the prompts, nor where it ended.
"""

import fcntl
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from predictor.errors import InputError
from serving.collect.lengths import CollectSettings, Row, kept_rows, write_rows


@dataclass(frozen=True, slots=True)
class Shards:
    """The shards of one output."""

    output: Path
    settings: CollectSettings

    @property
    def folder(self) -> Path:
        """Where they are; it is there only while they are."""
        return self.output.with_name(f"{self.output.name}.shards")

    def rows(self) -> dict[str, Row]:
        """What output and shards hold; raises ``DatasetError`` where they asked something else."""
        found = kept_rows(self.output, self.settings)
        for file in sorted(self.folder.glob("*.csv.gz")):
            found |= kept_rows(file, self.settings)
        return found

    def write(self, number: int, rows: Mapping[str, Row]) -> None:
        """Keep the rows of one shard."""
        write_rows(self.folder / f"{number:06d}.csv.gz", rows, self.settings)

    def join(self) -> dict[str, Row]:
        """Move all rows into the output; what it holds then."""
        rows = self.rows()
        if files := list(self.folder.glob("*.csv.gz")):
            write_rows(self.output, rows, self.settings)
            for file in files:
                file.unlink()
        return rows

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs away; the lock falls by itself when the process dies."""
        with self._lock_file() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(
                    f"{self.output}: another run writes it; wait for its end, or give another file"
                ) from error
            except OSError:
                pass  # a file system without locks
            try:
                yield
            finally:
                if not any(self.folder.glob("*.csv.gz")):
                    shutil.rmtree(self.folder)

    def _lock_file(self) -> TextIO:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return (self.folder / ".lock").open("w")
        except OSError as error:
            raise InputError(
                f"{self.folder}: {error.strerror}; give a place that can be written"
            ) from error
