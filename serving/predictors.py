"""Where a predictor is found by its name: a folder, the packaged one, the registry."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from predictor.errors import ArtifactError, RegistryError
from predictor.protocol import LengthPredictor
from predictor.source import PACKAGED, packaged_folder

# What a setting says where no predictor is wanted.
NO_PREDICTOR = "none"

_KNOWN = f"give a folder, {PACKAGED}, champion, candidate or a version number"


@contextmanager
def predictor_folder(name: str) -> Iterator[Path]:
    """The files of a predictor: a stored folder, ``packaged``, or an alias or version number.

    For as long as the block lasts. Raises ``ArtifactError`` where none of these fits.
    """
    if Path(name).is_dir():
        yield Path(name)
    elif name == PACKAGED:
        with packaged_folder() as folder:
            yield folder
    elif name.isidentifier() or name.isdecimal():
        with _registered(name) as folder:
            yield folder
    else:
        raise ArtifactError(f"predictor {name!r}: no such folder; {_KNOWN}")


def check_source(name: str) -> None:
    """Raise ``RegistryError`` where no predictor of this name can ever be found; asks nobody."""
    if name in (PACKAGED, NO_PREDICTOR) or Path(name).is_dir():
        return
    from training.mlflow_access import check_setting  # noqa: PLC0415 - MLflow is an extra

    check_setting()


def predictor_stamp(name: str) -> str:
    """Differs whenever :func:`predictor_folder` would give other files; cheap to ask.

    Raises ``ArtifactError`` where the registry cannot say.
    """
    if Path(name).is_dir():
        try:
            return str((Path(name) / "artifact.json").stat().st_mtime_ns)
        except FileNotFoundError:
            return "none"
    if name == PACKAGED:
        return PACKAGED
    from training.registry import Registry  # noqa: PLC0415 - MLflow is an optional extra

    try:
        return Registry().number_of(name)
    except RegistryError as error:
        raise ArtifactError(f"predictor {name!r}: {error}") from error


@contextmanager
def _registered(name: str) -> Iterator[Path]:
    from training.registry import Registry  # noqa: PLC0415 - MLflow is an optional extra

    try:
        with Registry().folder(name) as folder:
            yield folder
    except RegistryError as error:
        raise ArtifactError(f"predictor {name!r}: no such folder, and {error}; {_KNOWN}") from error


def find_predictor(name: str) -> LengthPredictor:
    """Load one; raises ``ArtifactError``."""
    with predictor_folder(name) as folder:
        return LengthPredictor.from_pretrained(folder)
