"""A folder that is built once and then shared: whole or not there, however a builder ends."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from serving.models import manifest

Build = Callable[[Path], None]


def cache_home() -> Path:
    """Return the folder of prepared models in the user cache (XDG)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    return root / "slotwise" / "models"


def ensure(folder: Path, *, source: str, build: Build, verify: bool = False) -> Path:
    """Return ``folder``, built by ``build`` unless it is whole and made from ``source``.

    ``build`` fills an empty folder beside it, which is renamed when it is done. Of several
    processes one builds and the others wait for it.
    """
    if usable(folder, source=source, verify=verify):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        if not usable(folder, source=source, verify=verify):
            _rebuild(folder, source=source, build=build)
    return folder


def usable(folder: Path, *, source: str, verify: bool = False) -> bool:
    """Whether the folder is whole and up to date. Quick: sizes and times, hashes only in doubt."""
    found = manifest.read(folder)
    if found is None or found.source != source:
        return False
    if not found.intact(folder, verify=verify):
        return False
    if found.touched(folder) and os.access(folder, os.W_OK):
        manifest.write(manifest.scan(folder, source=found.source), folder)
    return True


def _rebuild(folder: Path, *, source: str, build: Build) -> None:
    """Build beside the folder, then put the result in its place; the lock must be held."""
    _remove_leftovers(folder)
    fresh = Path(tempfile.mkdtemp(prefix=_prefix(folder), dir=folder.parent))
    try:
        build(fresh)
        manifest.write(manifest.scan(fresh, source=source), fresh)
        fresh.chmod(0o755)
        if folder.exists():
            folder.rename(Path(tempfile.mkdtemp(prefix=_prefix(folder), dir=folder.parent)))
        fresh.rename(folder)
    finally:
        _remove_leftovers(folder)


def _prefix(folder: Path) -> str:
    return f".{folder.name}-"


def _remove_leftovers(folder: Path) -> None:
    for leftover in folder.parent.glob(f"{_prefix(folder)}*"):
        shutil.rmtree(leftover)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; it falls by itself when the process dies."""
    with (folder.parent / f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
