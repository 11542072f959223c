"""A private copy of a stored predictor, so that it can be loaded again whatever becomes of it."""

import fcntl
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from predictor.errors import PredictionError

_PREFIX = "slotwise-predictor-"
# A younger copy may belong to a process that has not locked it yet.
_YOUNG_S = 60.0


@dataclass(slots=True)
class ArtifactCopy:
    """A folder under the system's folder for temporary files, locked while its process lives."""

    folder: Path
    _lock: int | None

    @classmethod
    def of(cls, source: Path) -> "ArtifactCopy":
        """Copy a folder; raises ``PredictionError``. Copies of processes that died are deleted."""
        _delete_orphans()
        target = Path(tempfile.mkdtemp(prefix=_PREFIX))
        lock = os.open(target, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        copy = cls(target, lock)
        try:
            shutil.copytree(source, target, dirs_exist_ok=True)
        except (OSError, shutil.Error) as error:
            copy.remove()
            raise PredictionError(f"{source}: cannot be read ({error}); the model stays") from error
        return copy

    def remove(self) -> None:
        """Delete it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _delete_orphans() -> None:
    """Who is killed leaves its copy; a locked one is in use."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
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
