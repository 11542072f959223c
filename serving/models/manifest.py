"""The marker of a finished model folder: what is in it, byte for byte, and where it came from."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any

NAME = "slotwise-manifest.json"


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file: its size in bytes, modification time in nanoseconds and sha256."""

    size: int
    mtime_ns: int
    sha256: str

    def intact(self, path: Path, *, verify: bool) -> bool:
        """Whether the file is still this one; read only if its time changed or on request."""
        if not path.is_file():
            return False
        stat = path.stat()
        if stat.st_size != self.size:
            return False
        if stat.st_mtime_ns == self.mtime_ns and not verify:
            return True
        return _sha256(path) == self.sha256


@dataclass(frozen=True, slots=True)
class Manifest:
    """All files of a folder and the ``source`` (package, version, converter) of them."""

    source: str
    files: Mapping[str, FileEntry]

    def intact(self, folder: Path, *, verify: bool = False) -> bool:
        """Whether every file is there, unchanged."""
        return bool(self.files) and all(
            entry.intact(folder / name, verify=verify) for name, entry in self.files.items()
        )

    def touched(self, folder: Path) -> bool:
        """Whether a file's modification time moved, so that each check has to read it again."""
        return any(
            (folder / name).stat().st_mtime_ns != entry.mtime_ns
            for name, entry in self.files.items()
        )


def scan(folder: Path, *, source: str) -> Manifest:
    """Describe all files that are in the folder now."""
    paths = sorted(path for path in folder.iterdir() if path.is_file() and path.name != NAME)
    return Manifest(source, {path.name: _entry(path) for path in paths})


def write(manifest: Manifest, folder: Path) -> None:
    """Put the manifest into the folder, in one piece."""
    text = json.dumps(asdict(manifest), indent=1)
    temporary = folder / f".{NAME}.{os.getpid()}"
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(folder / NAME)


def read(folder: Path) -> Manifest | None:
    """Return the manifest of the folder, or ``None`` if there is none that can be read."""
    try:
        return _parse(json.loads((folder / NAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _parse(document: dict[str, Any]) -> Manifest:
    files = {name: FileEntry(**entry) for name, entry in document["files"].items()}
    return Manifest(source=document["source"], files=files)


def _entry(path: Path) -> FileEntry:
    stat = path.stat()
    return FileEntry(size=stat.st_size, mtime_ns=stat.st_mtime_ns, sha256=_sha256(path))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
