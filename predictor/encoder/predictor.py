"""The encoder predictor: one fine-tuned transformer for many LLMs."""

import json
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from torch import nn

from predictor.conditioned import ConditionedPredictor, Parts
from predictor.encoder.backbone import Backbone, build_backbone
from predictor.encoder.network import pool
from predictor.encoder.window import Window, padded
from predictor.errors import ArtifactError, DistributionError
from predictor.prompt import Prompt

Ints = NDArray[np.int64]
Singles = NDArray[np.float32]

_STATE_FILE = "encoder.json"
_CONFIG_FILE = "config.json"
_TOKENIZER_FILE = "tokenizer.json"
_WEIGHTS_FILE = "model.safetensors"
_BATCH = 32
_BODY, _HEAD = "backbone.", "head."


class EncoderPredictor(ConditionedPredictor):
    """A fine-tuned transformer encoder under a hazard head; on a GPU where there is one."""

    def __init__(
        self,
        parts: Parts,
        *,
        backbone: nn.Module,
        backbone_config: bytes,
        window: Window,
        device: str | None = None,
    ) -> None:
        super().__init__(parts)
        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._backbone = backbone.to(self._device).eval()
        self._backbone_config = backbone_config
        self._window = window

    @property
    def kind(self) -> str:
        """``encoder``."""
        return "encoder"

    @property
    def backbone(self) -> Backbone:
        """Its encoder, for another training run to begin with."""
        return Backbone(self._backbone, self._backbone_config, self._window.tokenizer)

    def with_parts(self, parts: Parts) -> Self:
        """The same encoder under another head or calibration."""
        return type(self)(
            parts,
            backbone=self._backbone,
            backbone_config=self._backbone_config,
            window=self._window,
            device=self._device,
        )

    def encode(self, texts: Sequence[str]) -> Singles:
        """float32[n, hidden]; long texts by their head and tail."""
        tokens = self._window.tokens(texts)
        features = self.parts.scaling.features([Prompt(text) for text in texts])
        order = np.argsort([len(some) for some in tokens], kind="stable")
        out = np.empty((len(texts), self.parts.head.hidden), dtype=np.float32)
        for start in range(0, len(order), _BATCH):
            some = order[start : start + _BATCH]
            pooled = self._pooled([tokens[i] for i in some])
            out[some] = self.parts.head.prompt(pooled, features[some])
        return out

    def to_files(self) -> dict[str, bytes]:
        """Everything needed to build it again, by file name."""
        state = {**self.parts.state(), "head": self._window.head, "tail": self._window.tail}
        body = {k: v.detach().cpu().numpy() for k, v in self._backbone.state_dict().items()}
        weights = {f"{_BODY}{name}": np.ascontiguousarray(v) for name, v in body.items()}
        weights |= {f"{_HEAD}{name}": v for name, v in self.parts.head.weights.items()}
        return {
            _STATE_FILE: json.dumps(state).encode(),
            _CONFIG_FILE: self._backbone_config,
            _TOKENIZER_FILE: self._window.tokenizer,
            _WEIGHTS_FILE: save_arrays(weights),
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        """Inverse of :meth:`to_files`."""
        try:
            return cls._from_files(files)
        except (
            KeyError, TypeError, ValueError, RuntimeError, OSError, SafetensorError,
            DistributionError,
        ) as error:  # fmt: skip
            raise ArtifactError(
                f"encoder predictor: {str(error) or error!r}; train the predictor anew"
            ) from error

    @classmethod
    def _from_files(cls, files: Mapping[str, bytes]) -> Self:
        state = json.loads(files[_STATE_FILE])
        weights = load_arrays(files[_WEIGHTS_FILE])
        backbone = build_backbone(files[_CONFIG_FILE])
        backbone.load_state_dict(
            {k: torch.from_numpy(v) for k, v in _under(_BODY, weights).items()}
        )
        return cls(
            Parts.from_state(state, _under(_HEAD, weights)),
            backbone=backbone,
            backbone_config=files[_CONFIG_FILE],
            window=Window(files[_TOKENIZER_FILE], state["head"], state["tail"]),
        )

    def _pooled(self, tokens: Sequence[Ints]) -> Singles:
        ids, mask = (torch.from_numpy(array).to(self._device) for array in padded(tokens))
        with torch.inference_mode():
            states = self._backbone(input_ids=ids, attention_mask=mask).last_hidden_state
            pooled: Singles = pool(states, mask).cpu().numpy()
        return pooled


def _under(prefix: str, weights: Mapping[str, Singles]) -> dict[str, Singles]:
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
