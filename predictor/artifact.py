"""Stored predictors: a folder of plain files with their checksums, written whole or not at all.

``artifact.json`` names the format, its version, the predictor's kind and the SHA-256 of every
other file. No pickles: JSON, LightGBM's text format and numpy arrays without objects.
"""

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TypeVar

from predictor.errors import ArtifactError
from predictor.protocol import LengthPredictor

FORMAT = "slotwise-predictor"
VERSION = 1
INDEX = "artifact.json"
_KINDS = {
    "blend": ("predictor.blend", "BlendedPredictor"),
    "corrected": ("predictor.corrected", "CorrectedPredictor"),
    "fast": ("predictor.fast", "FastPredictor"),
    "encoder": ("predictor.encoder.predictor", "EncoderPredictor"),
    "history": ("predictor.history", "HistoryPredictor"),
    "lightgbm": ("predictor.boosted", "BoostedPredictor"),
}
_REMEDY = "store or train the predictor anew (slotwise train)"


@dataclass(frozen=True, slots=True)
class _Index:
    """What ``artifact.json`` says."""

    kind: str
    sha256: dict[str, str]


Stored = TypeVar("Stored", bound=LengthPredictor)


def save(
    predictor: LengthPredictor, folder: Path, *, extra: Mapping[str, bytes] | None = None
) -> None:
    """Write ``folder`` atomically, replacing an artifact that is there.

    ``extra`` files (metrics, fingerprints) are stored and checked like the others.
    """
    if not _replaceable(folder):
        raise ArtifactError(f"{folder}: is no artifact folder; give an empty or new folder")
    files = {**predictor.to_files(), **(extra or {})}
    index = {
        "format": FORMAT,
        "version": VERSION,
        "kind": predictor.kind,
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    files[INDEX] = json.dumps(index, indent=2).encode()
    try:
        _replace(folder, files)
    except OSError as error:
        raise ArtifactError(f"{folder}: {error}; give a folder that can be written") from error


def load(folder: Path) -> LengthPredictor:
    """Build the stored predictor of whichever kind; raises ``ArtifactError``."""
    index = _index(folder)
    return kind_named(index.kind).from_files(_checked_files(folder, index.sha256))


def kind_named(kind: str) -> type[LengthPredictor]:
    """The class of that kind; raises ``KeyError``."""
    module, name = _KINDS[kind]
    found: type[LengthPredictor] = getattr(import_module(module), name)
    return found


def load_as(wanted: type[Stored], folder: Path) -> Stored:
    """:func:`load`, and insist on the kind."""
    loaded = load(folder)
    if not isinstance(loaded, wanted):
        raise ArtifactError(
            f"{folder}: holds a {loaded.kind} predictor, not a {wanted.__name__}; "
            "load it with predictor.artifact.load"
        )
    return loaded


def _replaceable(folder: Path) -> bool:
    if not folder.exists():
        return True
    return folder.is_dir() and ((folder / INDEX).exists() or not any(folder.iterdir()))


def _replace(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        fresh, old = Path(scratch) / "new", Path(scratch) / "old"
        fresh.mkdir()
        for name, content in files.items():
            (fresh / name).write_bytes(content)
        if folder.exists():
            folder.replace(old)
        try:
            fresh.replace(folder)
        except OSError:
            if old.exists():
                old.replace(folder)
            raise


def _index(folder: Path) -> _Index:
    index = _parsed_index(folder)
    if index.get("format") != FORMAT:
        raise ArtifactError(f"{folder}: is no {FORMAT} artifact; {_REMEDY}")
    if index.get("version") != VERSION:
        raise ArtifactError(
            f"{folder}: format version {index.get('version')!r}, "
            f"but this Slotwise reads {VERSION}; {_REMEDY}"
        )
    kind, checksums = index.get("kind"), index.get("sha256")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ArtifactError(f"{folder}: kind {kind!r} is none of {', '.join(_KINDS)}; {_REMEDY}")
    if not isinstance(checksums, dict):
        raise ArtifactError(f"{folder}: {INDEX} lists no files; {_REMEDY}")
    return _Index(kind, {str(name): str(digest) for name, digest in checksums.items()})


def _parsed_index(folder: Path) -> dict[str, object]:
    try:
        index = json.loads((folder / INDEX).read_bytes())
    except OSError as error:
        raise ArtifactError(
            f"{folder}: no stored predictor ({error.strerror}); {_REMEDY}"
        ) from error
    except ValueError as error:
        raise ArtifactError(f"{folder / INDEX}: damaged ({error}); {_REMEDY}") from error
    if not isinstance(index, dict):
        raise ArtifactError(f"{folder / INDEX}: damaged (no object); {_REMEDY}")
    return index


def _checked_files(folder: Path, checksums: Mapping[str, str]) -> dict[str, bytes]:
    return {name: _checked_file(folder, name, digest) for name, digest in checksums.items()}


def _checked_file(folder: Path, name: str, digest: str) -> bytes:
    if Path(name).name != name:
        raise ArtifactError(f"{folder}: file name {name!r} leads outside; {_REMEDY}")
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise ArtifactError(f"{folder / name}: {error.strerror}; {_REMEDY}") from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise ArtifactError(f"{folder / name}: damaged, its SHA-256 differs; {_REMEDY}")
    return content
