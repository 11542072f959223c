"""First on the path of an engine: vLLM's companions that do not fit its torch are not there."""

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path

_COMPANIONS = ("torchvision", "torchaudio", "torchcodec")


def _hide() -> None:
    """Whoever asks for them is told that they are not installed."""
    for name in _COMPANIONS:
        sys.modules[name] = None  # type: ignore[assignment]


def _run_next() -> None:
    """Python runs one module of this name; that of the user or of the system still counts."""
    here = Path(__file__).resolve().parent
    path = [entry for entry in sys.path if Path(entry).resolve() != here]
    spec = PathFinder.find_spec("sitecustomize", path)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(module_from_spec(spec))


_hide()
_run_next()
