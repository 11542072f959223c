"""A private copy of a stored predictor, so that it can be loaded again whatever becomes of it."""

import shutil
from pathlib import Path

from predictor.errors import PredictionError
from serving.scratch_folder import ScratchFolder

_PREFIX = "slotwise-predictor-"


def artifact_copy(source: Path) -> ScratchFolder:
    """Copy a folder; raises ``PredictionError``."""
    try:
        copy = ScratchFolder.new(_PREFIX)
    except OSError as error:
        raise PredictionError(
            f"{source}: no temporary folder for a copy ({error}); set TMPDIR to one that can be "
            "written"
        ) from error
    try:
        shutil.copytree(source, copy.path, dirs_exist_ok=True)
    except (OSError, shutil.Error) as error:
        copy.remove()
        raise PredictionError(f"{source}: cannot be read ({error}); the model stays") from error
    return copy
