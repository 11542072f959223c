"""What ``--model`` may say: the name of a known model, a local folder or a hub id."""

import json
import re
from collections.abc import Callable
from pathlib import Path

from predictor.errors import ModelError
from serving.models.known import KNOWN, prepare

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_WEIGHTS = ("*.safetensors", "*.bin", "*.pt")


def resolve(model: str, *, prepare_known: Callable[[str], Path] = prepare) -> str:
    """Return what the engine's ``--model`` should be given.

    A known name is prepared; a folder is checked; anything else that looks like a hub id is
    passed through, for the engine to fetch.
    """
    if model in KNOWN:
        return str(prepare_known(model))
    folder = Path(model).expanduser()
    if model and folder.is_dir():
        check_folder(folder)
        return str(folder.resolve())
    if folder.exists() or model.startswith(("/", ".", "~")) or not _HUB_ID.fullmatch(model):
        raise ModelError(
            f"model '{model}' is not a folder: give a folder with config.json and weights, a hub"
            f" id such as org/name, or one of {', '.join(sorted(KNOWN))}"
        )
    return model


def is_local(model: str) -> bool:
    """Whether the engine needs no model hub for this model."""
    return Path(model).is_dir()


def check_folder(folder: Path) -> None:
    """Raise ``ModelError`` unless the folder has a configuration and all of its weights."""
    if not (folder / "config.json").is_file():
        raise ModelError(_complaint(folder, "it has no config.json"))
    missing = _missing_shards(folder)
    if missing:
        raise ModelError(_complaint(folder, f"it lacks {missing[0]}, which its index names"))
    weights = (path for pattern in _WEIGHTS for path in folder.glob(pattern))
    if not any(path.stat().st_size for path in weights):
        raise ModelError(_complaint(folder, f"it has no weights ({', '.join(_WEIGHTS)})"))


def _complaint(folder: Path, fault: str) -> str:
    return (
        f"model folder {folder} cannot be used: {fault}; download the model again into it, or"
        " use  --model smollm2"
    )


def _missing_shards(folder: Path) -> list[str]:
    """Names of weight files that an index beside them promises and that are not there."""
    names: set[str] = set()
    for index in folder.glob("*.index.json"):
        try:
            names.update(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, AttributeError) as error:
            raise ModelError(_complaint(folder, f"{index.name} cannot be read")) from error
    return sorted(name for name in names if not (folder / name).is_file())
