"""The head of the learned predictors in plain numpy: from a prompt's encoding to a CDF."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

_NAMES = (
    "llm.weight", "settings.weight", "trunk.0.weight", "trunk.0.bias", "film.weight", "film.bias",
    "mix.1.weight", "mix.1.bias", "hazard.weight", "hazard.bias", "bias.weight",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class HazardHead:
    """Weights of ``predictor.encoder.network.HazardHead``, by the names they have there.

    A hazard is P(length in bin b | length beyond bin b - 1). What belongs to the prompt alone
    is computed once (:meth:`prompt`), whoever answers it.
    """

    weights: Mapping[str, Singles]

    @classmethod
    def of(cls, weights: Mapping[str, Singles]) -> Self:
        """From more weights than needed; raises ``KeyError`` where one is missing."""
        return cls({name: np.asarray(weights[name], dtype=np.float32) for name in _NAMES})

    @property
    def hidden(self) -> int:
        """Width of a prompt's encoding."""
        return len(self.weights["trunk.0.bias"])

    @property
    def llms(self) -> Singles:
        """float32[LLMs, W], the vector of each LLM."""
        return self.weights["llm.weight"]

    def prompt(self, pooled: Singles, features: Singles) -> Singles:
        """float32[n, hidden] from the pooled text and its standardised lexical features."""
        joined = np.concatenate((pooled, features), axis=1)
        return _gelu(self._linear("trunk.0", joined))

    def cdf(self, prompt: Singles, llm: Singles, settings: Singles) -> Floats:
        """float64[n, B + 1] at the edges; ``llm`` are vectors, float32[n, W]."""
        who = llm + settings @ self.weights["settings.weight"].T
        scale, shift = np.split(self._linear("film", who), 2, axis=1)
        mixed = _gelu(self._linear("mix.1", _gelu(prompt * (1.0 + scale) + shift)))
        logits = self._linear("hazard", mixed) + who @ self.weights["bias.weight"].T
        # log(1 - hazard), summed: accurate far in the tail as well.
        beyond = np.cumsum(-np.logaddexp(0.0, logits.astype(np.float64)), axis=1)
        cdf = np.empty((len(prompt), logits.shape[1] + 2))
        cdf[:, 0], cdf[:, -1] = 0.0, 1.0
        cdf[:, 1:-1] = -np.expm1(beyond)
        return cdf

    def with_llm(self, vector: Singles) -> "HazardHead":
        """The same with one LLM more."""
        return HazardHead({**self.weights, "llm.weight": np.vstack((self.llms, vector))})

    def _linear(self, name: str, values: Singles) -> Singles:
        product: Singles = values @ self.weights[f"{name}.weight"].T
        return product + self.weights[f"{name}.bias"]


def _gelu(values: Singles) -> Singles:
    from scipy.special import erf  # noqa: PLC0415 - only the learned predictors need it

    return np.asarray(0.5 * values * (1.0 + erf(values * np.float32(0.70710678))), dtype=np.float32)
