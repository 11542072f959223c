"""The encoder predictor: one model for many LLMs, a calibrated distribution per prompt."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from predictor.calibration import GroupedCalibration
from predictor.distribution import LengthDistribution
from predictor.encoder.backbone import build_backbone
from predictor.encoder.inputs import Scaling, padded, settings
from predictor.encoder.network import HeadShape, LengthNetwork, cdf_at_edges
from predictor.encoder.window import Window
from predictor.errors import ArtifactError, DistributionError, ModelError
from predictor.features import FEATURE_VERSION
from predictor.prompt import Prompt
from predictor.protocol import LengthPredictor

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Singles = NDArray[np.float32]

_STATE_FILE = "encoder.json"
_CONFIG_FILE = "config.json"
_TOKENIZER_FILE = "tokenizer.json"
_WEIGHTS_FILE = "model.safetensors"
_BATCH = 32


class EncoderPredictor(LengthPredictor):
    """A fine-tuned encoder with a hazard head on log-spaced bins, conditioned on the LLM.

    A prompt whose LLM it never saw, or that names none, gets the prior: the mixture of what
    it expects of each LLM it knows.
    """

    def __init__(
        self,
        *,
        network: LengthNetwork,
        backbone_config: bytes,
        window: Window,
        scaling: Scaling,
        edges: Ints,
        llms: Sequence[str],
        calibration: GroupedCalibration,
        device: str = "cpu",
    ) -> None:
        self.network = network.to(device).eval()
        self.window = window
        self.scaling = scaling
        self.edges = edges
        self.llms = tuple(llms)
        self.calibration = calibration
        self._backbone_config = backbone_config
        self._device = device
        self._number = {name: place for place, name in enumerate(self.llms)}

    @property
    def kind(self) -> str:
        """``encoder``."""
        return "encoder"

    def predict(self, prompts: Sequence[Prompt]) -> list[LengthDistribution]:
        """One distribution per prompt, in order, cut at its ``max_tokens``."""
        if not prompts:
            return []
        cdf = self.calibration.apply(self.raw_cdf(prompts), prompts)
        return [
            _distribution(self.edges, row, prompt.max_tokens)
            for row, prompt in zip(cdf, prompts, strict=True)
        ]

    def raw_cdf(self, prompts: Sequence[Prompt]) -> Floats:
        """float64[n, B + 1], the uncorrected CDF at the edges; each text is encoded once."""
        texts: dict[str, int] = {}
        of = np.array([texts.setdefault(prompt.text, len(texts)) for prompt in prompts])
        encoded = self.encode(list(texts))
        return self.cdf_of(encoded[torch.from_numpy(of)], prompts)

    def cdf_of(self, encoded: torch.Tensor, prompts: Sequence[Prompt]) -> Floats:
        """:meth:`raw_cdf` of prompts whose encoding (:meth:`encode`) is at hand already."""
        how = torch.from_numpy(settings(prompts)).to(self._device)
        known = np.array([self._number.get(prompt.llm or "", -1) for prompt in prompts])
        cdf = np.empty((len(prompts), len(self.edges)))
        table = self.network.head.llm.weight
        with torch.inference_mode():
            if (told := np.flatnonzero(known >= 0)).size:
                logits = self.network.head(
                    encoded[told], table[torch.from_numpy(known[told])], how[told]
                )
                cdf[told] = _numbers(cdf_at_edges(logits.double()))
            for row in np.flatnonzero(known < 0):
                each = self.network.head(
                    encoded[[row]].expand(len(table), -1), table, how[[row]].expand(len(table), -1)
                )
                cdf[row] = _numbers(cdf_at_edges(each.double())).mean(axis=0)
        return cdf

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """float32[n, hidden]: what the head needs of each text, whoever answers it."""
        tokens = self.window.tokens(texts)
        features = self.scaling.features([Prompt(text) for text in texts])
        order = np.argsort([len(some) for some in tokens], kind="stable")
        out = torch.empty((len(texts), self.network.head.shape.hidden), device=self._device)
        with torch.inference_mode():
            for start in range(0, len(order), _BATCH):
                some = order[start : start + _BATCH]
                ids, mask = padded([tokens[i] for i in some])
                pooled = self.network.pooled(self._tensor(ids), self._tensor(mask))
                out[torch.from_numpy(some)] = self.network.head.prompt(
                    pooled, self._tensor(features[some])
                )
        return out

    def to_files(self) -> dict[str, bytes]:
        """Everything needed to build it again, by file name."""
        state = {
            "features": FEATURE_VERSION,
            "head": self.window.head,
            "tail": self.window.tail,
            "edges": self.edges.tolist(),
            "llms": self.llms,
            "shape": asdict(self.network.head.shape),
            "scaling": {
                "mean": self.scaling.mean.tolist(),
                "spread": self.scaling.spread.tolist(),
            },
            "calibration": self.calibration.to_json(),
        }
        weights = {k: v.detach().cpu().contiguous() for k, v in self.network.state_dict().items()}
        return {
            _STATE_FILE: json.dumps(state).encode(),
            _CONFIG_FILE: self._backbone_config,
            _TOKENIZER_FILE: self.window.tokenizer,
            _WEIGHTS_FILE: save_tensors(weights),
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        """Inverse of :meth:`to_files`."""
        try:
            return cls._from_files(files)
        except (
            KeyError, TypeError, ValueError, RuntimeError, OSError, DistributionError,
        ) as error:  # fmt: skip
            raise ArtifactError(
                f"encoder predictor: {str(error) or error!r}; train the predictor anew"
            ) from error

    @classmethod
    def _from_files(cls, files: Mapping[str, bytes]) -> Self:
        state: dict[str, Any] = json.loads(files[_STATE_FILE])
        if state["features"] != FEATURE_VERSION:
            raise ArtifactError(
                "encoder predictor: made for other features; train the predictor anew"
            )
        network = LengthNetwork(build_backbone(files[_CONFIG_FILE]), HeadShape(**state["shape"]))
        network.load_state_dict(load_tensors(files[_WEIGHTS_FILE]))
        scaling = Scaling(*(np.array(state["scaling"][name]) for name in ("mean", "spread")))
        return cls(
            network=network,
            backbone_config=files[_CONFIG_FILE],
            window=Window(files[_TOKENIZER_FILE], state["head"], state["tail"]),
            scaling=scaling,
            edges=np.array(state["edges"], dtype=np.int64),
            llms=state["llms"],
            calibration=GroupedCalibration.from_json(state["calibration"]),
            device="cuda" if torch.cuda.is_available() else "cpu",
        )

    def _tensor(self, values: NDArray[np.generic]) -> torch.Tensor:
        return torch.from_numpy(values).to(self._device)


def _numbers(cdf: torch.Tensor) -> Floats:
    values: Floats = cdf.cpu().numpy()
    if not np.isfinite(values).all():
        raise ModelError("the encoder answers with nan; its weights are broken, train it anew")
    return np.maximum.accumulate(np.clip(values, 0.0, 1.0), axis=1)


def _distribution(edges: Ints, cdf: Floats, max_tokens: int | None) -> LengthDistribution:
    distribution = LengthDistribution.from_cdf(edges, cdf)
    return distribution if max_tokens is None else distribution.truncated(max_tokens)
