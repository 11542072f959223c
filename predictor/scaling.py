"""Standardised features of a prompt, and how its LLM samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from predictor.features import lexical_features
from predictor.prompt import Prompt

Singles = NDArray[np.float32]

SETTINGS = 1
# Where a request does not say how it samples.
_USUAL_TEMPERATURE = 0.8
_LONGEST_STEP = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """Mean and spread of each lexical feature in training, float64[F]."""

    mean: NDArray[np.float64]
    spread: NDArray[np.float64]

    @classmethod
    def fit(cls, prompts: Sequence[Prompt]) -> Self:
        """From the training prompts."""
        raw = lexical_features(prompts)
        spread = raw.std(axis=0)
        return cls(raw.mean(axis=0), np.where(spread > 1e-6, spread, 1.0))

    def to_json(self) -> dict[str, list[float]]:
        """Both, as lists."""
        return {"mean": self.mean.tolist(), "spread": self.spread.tolist()}

    @classmethod
    def from_json(cls, values: Mapping[str, Sequence[float]]) -> Self:
        """Inverse of :meth:`to_json`."""
        return cls(np.array(values["mean"], dtype=float), np.array(values["spread"], dtype=float))

    def features(self, prompts: Sequence[Prompt]) -> Singles:
        """float32[n, F], at most four spreads from the mean."""
        return self.scaled(lexical_features(prompts))

    def scaled(self, features: NDArray[np.float64]) -> Singles:
        """The same of features that are at hand."""
        scaled = (features - self.mean) / self.spread
        return np.clip(scaled, -_LONGEST_STEP, _LONGEST_STEP).astype(np.float32)


def settings(prompts: Sequence[Prompt]) -> Singles:
    """float32[n, SETTINGS]: temperature around its usual value."""
    told = [p.temperature for p in prompts]
    known = [_USUAL_TEMPERATURE if t is None else t for t in told]
    return (np.array(known, dtype=np.float32)[:, None] - _USUAL_TEMPERATURE).astype(np.float32)
