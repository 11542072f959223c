"""What ``--model`` of the predictor commands may say: a folder, or a name."""

from pathlib import Path

from predictor.errors import ArtifactError, RegistryError
from predictor.protocol import LengthPredictor

PACKAGED = "packaged"


def find_predictor(name: str) -> LengthPredictor:
    """A stored folder, ``packaged``, or an alias or version number of the registry.

    Raises ``ArtifactError`` where none of these fits.
    """
    if Path(name).is_dir():
        return LengthPredictor.from_pretrained(Path(name))
    if name == PACKAGED:
        from predictor.fast import packaged  # noqa: PLC0415

        return packaged()
    from training.registry import Registry  # noqa: PLC0415 - MLflow is an optional extra

    try:
        with Registry().folder(name) as folder:
            return LengthPredictor.from_pretrained(folder)
    except RegistryError as error:
        raise ArtifactError(
            f"predictor {name!r}: no such folder, and {error}; give a folder, {PACKAGED}, "
            "champion, candidate or a version number"
        ) from error
