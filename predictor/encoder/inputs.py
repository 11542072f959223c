"""What the network is fed: padded tokens, standardised features, how the LLM samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from predictor.features import lexical_features
from predictor.prompt import Prompt

Ints = NDArray[np.int64]
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

    def features(self, prompts: Sequence[Prompt]) -> Singles:
        """float32[n, F], at most four spreads from the mean."""
        scaled = (lexical_features(prompts) - self.mean) / self.spread
        return np.clip(scaled, -_LONGEST_STEP, _LONGEST_STEP).astype(np.float32)


def settings(prompts: Sequence[Prompt]) -> Singles:
    """float32[n, SETTINGS]: temperature around its usual value."""
    told = [p.temperature for p in prompts]
    known = [_USUAL_TEMPERATURE if t is None else t for t in told]
    return (np.array(known, dtype=np.float32)[:, None] - _USUAL_TEMPERATURE).astype(np.float32)


def padded(tokens: Sequence[Ints]) -> tuple[Ints, Ints]:
    """Token ids and mask, int64[n, longest] each."""
    longest = max(map(len, tokens))
    ids = np.zeros((len(tokens), longest), dtype=np.int64)
    mask = np.zeros((len(tokens), longest), dtype=np.int64)
    for row, some in enumerate(tokens):
        ids[row, : len(some)] = some
        mask[row, : len(some)] = 1
    return ids, mask
