"""What the learned predictors share: one encoding per prompt, one vector per LLM."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from predictor.calibration import GroupedCalibration
from predictor.distribution import LengthDistribution
from predictor.errors import ArtifactError, ModelError
from predictor.features import FEATURE_VERSION
from predictor.hazard import HazardHead
from predictor.prompt import Prompt
from predictor.protocol import LengthPredictor
from predictor.scaling import Scaling, settings

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Singles = NDArray[np.float32]

# Prompts of LLMs never seen are asked of every LLM: so many together.
_UNKNOWN_AT_ONCE = 256


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """The head and everything around it; ``edges`` is int64[B + 1] in tokens."""

    head: HazardHead
    scaling: Scaling
    edges: Ints
    llms: tuple[str, ...]
    calibration: GroupedCalibration

    def state(self) -> dict[str, Any]:
        """All but the weights, for JSON."""
        return {
            "features": FEATURE_VERSION,
            "edges": self.edges.tolist(),
            "llms": self.llms,
            "scaling": self.scaling.to_json(),
            "calibration": self.calibration.to_json(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any], weights: dict[str, Singles]) -> Self:
        """Inverse of :meth:`state`."""
        if state["features"] != FEATURE_VERSION:
            raise ArtifactError("predictor: made for other features; train the predictor anew")
        parts = cls(
            head=HazardHead.of(weights),
            scaling=Scaling.from_json(state["scaling"]),
            edges=np.array(state["edges"], dtype=np.int64),
            llms=tuple(map(str, state["llms"])),
            calibration=GroupedCalibration.from_json(state["calibration"]),
        )
        bins = len(parts.head.weights["hazard.bias"]) + 1
        if len(parts.head.llms) != len(parts.llms) or len(parts.edges) != bins + 1:
            raise ArtifactError(
                "predictor: its names, edges and weights differ; train the predictor anew"
            )
        return parts


class ConditionedPredictor(LengthPredictor):
    """A hazard head on an encoding of the text, conditioned on the LLM that will answer.

    A prompt whose LLM it never saw, or that names none, gets the prior: the mixture of what
    it expects of each LLM it knows.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._number = {name: place for place, name in enumerate(parts.llms)}

    @property
    def llms(self) -> tuple[str, ...]:
        """The LLMs it knows."""
        return self.parts.llms

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> Singles:
        """float32[n, hidden]: what the head needs of each text, whoever answers it."""

    @abstractmethod
    def with_parts(self, parts: Parts) -> Self:
        """The same encoding under another head or calibration."""

    def predict(self, prompts: Sequence[Prompt]) -> list[LengthDistribution]:
        """One distribution per prompt, in order, cut at its ``max_tokens``."""
        if not prompts:
            return []
        cdf = self.parts.calibration.apply(self.raw_cdf(prompts), prompts)
        return [
            distribution(self.parts.edges, row, prompt.max_tokens)
            for row, prompt in zip(cdf, prompts, strict=True)
        ]

    def raw_cdf(self, prompts: Sequence[Prompt]) -> Floats:
        """float64[n, B + 1], the uncorrected CDF at the edges; each text is encoded once."""
        texts: dict[str, int] = {}
        of = [texts.setdefault(prompt.text, len(texts)) for prompt in prompts]
        return self.cdf_of(self.encode(list(texts))[of], prompts)

    def cdf_of(self, encoded: Singles, prompts: Sequence[Prompt]) -> Floats:
        """:meth:`raw_cdf` of prompts whose encoding (:meth:`encode`) is at hand already."""
        head, how = self.parts.head, settings(prompts)
        known = np.array([self._number.get(prompt.llm or "", -1) for prompt in prompts])
        cdf = np.empty((len(prompts), len(self.parts.edges)))
        if (told := np.flatnonzero(known >= 0)).size:
            cdf[told] = head.cdf(encoded[told], head.llms[known[told]], how[told])
        unknown, count = np.flatnonzero(known < 0), len(head.llms)
        for start in range(0, len(unknown), _UNKNOWN_AT_ONCE):
            some = unknown[start : start + _UNKNOWN_AT_ONCE]
            every = head.cdf(
                np.repeat(encoded[some], count, axis=0),
                np.tile(head.llms, (len(some), 1)),
                np.repeat(how[some], count, axis=0),
            )
            cdf[some] = every.reshape(len(some), count, -1).mean(axis=1)
        if not np.isfinite(cdf).all():
            raise ModelError("the predictor answers with nan; its weights are broken, train anew")
        return cdf

    def calibrated(self, prompts: Sequence[Prompt], samples: Ints) -> Self:
        """The same, corrected by how its forecasts held on prompts it did not see.

        ``samples`` is int64[n, S] in tokens, 0 where there is none.
        """
        asked, values = held(self.raw_cdf(prompts), self.parts.edges, prompts, samples)
        calibration = GroupedCalibration.fit(values, asked)
        return self.with_parts(replace(self.parts, calibration=calibration))


def held(
    cdf: Floats, edges: Ints, prompts: Sequence[Prompt], samples: Ints
) -> tuple[list[Prompt], Floats]:
    """For every sample its prompt and the CDF (float64[n, B + 1] at ``edges``) at its length."""
    row, column = np.nonzero(samples)
    at = samples[row, column] - 0.5
    values = np.array([np.interp(x, edges, cdf[r]) for x, r in zip(at, row, strict=True)])
    return [prompts[r] for r in row], values


def distribution(edges: Ints, cdf: Floats, max_tokens: int | None) -> LengthDistribution:
    """One row of CDF values, cut at ``max_tokens``."""
    whole = LengthDistribution.from_cdf(edges, cdf)
    return whole if max_tokens is None else whole.truncated(max_tokens)
