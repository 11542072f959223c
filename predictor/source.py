"""Predictors by name: the packaged one, or a stored folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path

from predictor.errors import ArtifactError
from predictor.protocol import LengthPredictor

PACKAGED = "packaged"


@contextmanager
def packaged_folder() -> Iterator[Path]:
    """The files of the predictor that ships with the package, for as long as the block lasts."""
    with as_file(files("predictor") / PACKAGED) as folder:
        yield folder


def load(source: Path | str = PACKAGED) -> LengthPredictor:
    """The packaged predictor, or the one stored in a folder; a folder of that name wins.

    Raises ``ArtifactError``. The registry's names (``champion``, a version number) need MLflow:
    ``serving.find_predictor`` knows them too.
    """
    if Path(source).is_dir():
        return LengthPredictor.from_pretrained(source)
    if source != PACKAGED:
        raise ArtifactError(
            f"predictor {str(source)!r}: no such folder; give a folder or {PACKAGED!r}, or ask "
            "serving.find_predictor for champion, candidate or a version number"
        )
    with packaged_folder() as folder:
        return LengthPredictor.from_pretrained(folder)
