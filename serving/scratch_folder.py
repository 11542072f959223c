"""A folder of one process that does not outlast it for long, however that process ends."""

import fcntl
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

# A younger folder may belong to a process that has not locked it yet.
_YOUNG_S = 60.0


@dataclass(slots=True)
class ScratchFolder:
    """A folder under the system's folder for temporary files, locked while its process lives."""

    path: Path
    _lock: int | None

    @classmethod
    def new(cls, prefix: str) -> "ScratchFolder":
        """Make one; those of the same prefix whose processes died are deleted."""
        _delete_orphans(prefix)
        path = Path(tempfile.mkdtemp(prefix=prefix))
        lock = os.open(path, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        return cls(path, lock)

    def remove(self) -> None:
        """Delete it."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _delete_orphans(prefix: str) -> None:
    """Who is killed leaves its folder; a locked one is in use."""
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        try:
            young = time.time() - folder.stat().st_mtime < _YOUNG_S
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            continue  # of another user, or gone meanwhile
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not young:
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue
        finally:
            os.close(descriptor)
