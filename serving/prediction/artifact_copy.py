"""A private copy of a stored predictor, so that it can be loaded again whatever becomes of it."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from predictor.errors import PredictionError


@dataclass(frozen=True, slots=True)
class ArtifactCopy:
    """A folder under the system's folder for temporary files."""

    folder: Path

    @classmethod
    def of(cls, source: Path) -> "ArtifactCopy":
        """Copy a folder; raises ``PredictionError``."""
        target = Path(tempfile.mkdtemp(prefix="slotwise-predictor-"))
        try:
            shutil.copytree(source, target, dirs_exist_ok=True)
        except (OSError, shutil.Error) as error:
            shutil.rmtree(target, ignore_errors=True)
            raise PredictionError(f"{source}: cannot be read ({error}); the model stays") from error
        return cls(target)

    def remove(self) -> None:
        """Delete it."""
        shutil.rmtree(self.folder, ignore_errors=True)
