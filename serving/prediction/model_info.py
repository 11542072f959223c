"""Which model answers."""

import hashlib
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import orjson

from predictor.errors import ArtifactError

_INDEX = "artifact.json"


@dataclass(frozen=True)
class ModelInfo:
    """``version`` is the first 12 digits of the SHA-256 of the artifact's index.

    The index holds the checksums of all files, so equal versions are equal models.
    """

    name: str
    version: str
    kind: str

    @classmethod
    def of(cls, folder: Path, *, name: str) -> "ModelInfo":
        """Read an artifact folder; raises ``ArtifactError``."""
        try:
            index = (folder / _INDEX).read_bytes()
            kind = str(orjson.loads(index)["kind"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(
                f"{folder}: no stored predictor ({error}); give the folder that "
                "`slotwise train --output FOLDER` wrote"
            ) from error
        version = hashlib.sha256(index).hexdigest()[:12]
        return cls(name=name, version=version, kind=kind)

    @cached_property
    def encoded(self) -> bytes:
        """As a JSON object."""
        return orjson.dumps(self.to_dict())

    def to_dict(self) -> dict[str, str]:
        """As JSON types."""
        return asdict(self)


CLASS_PRIOR = ModelInfo(name="class-prior", version="0", kind="prior")
