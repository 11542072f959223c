"""vLLM's companions for pictures and sound, where they do not fit the torch that is installed.

The CPU build of vLLM asks for torchvision, torchaudio and torchcodec. A package index has them for
CUDA. Beside a CPU build of torch their import fails, and with it the import of transformers. The
set-up uninstalls them; where they are, engines and converters do not see them.
"""

import importlib.metadata
import os
from collections.abc import Mapping
from pathlib import Path

_FOLDER = Path(__file__).with_name("path_without_companions")
_CPU_TAG = "+cpu"


def environment() -> dict[str, str]:
    """Return the variables that hide companions which do not fit; none if they fit or are away."""
    if fitting(_version("torch"), _version("torchvision")):
        return {}
    return {"PYTHONPATH": _in_front(_FOLDER, os.environ)}


def fitting(torch: str | None, torchvision: str | None) -> bool:
    """Whether both are builds for CPUs, or neither, by their versions; ``None``: not installed."""
    if torch is None or torchvision is None:
        return True
    return (_CPU_TAG in torch) == (_CPU_TAG in torchvision)


def _in_front(folder: Path, variables: Mapping[str, str]) -> str:
    return os.pathsep.join(filter(None, (str(folder), variables.get("PYTHONPATH"))))


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
