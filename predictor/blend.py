"""An encoder and a fast path together: they err differently, so their mean errs less."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from predictor.calibration import GroupedCalibration
from predictor.conditioned import ConditionedPredictor, distribution, held
from predictor.distribution import LengthDistribution
from predictor.errors import ArtifactError, DistributionError, ModelError
from predictor.fast import FastPredictor
from predictor.prompt import Prompt
from predictor.protocol import LengthPredictor

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_STATE_FILE = "blend.json"


@dataclass(frozen=True, slots=True, eq=False)
class Members:
    """What is blended; ``weight`` is the encoder's share of the CDF, 0 to 1."""

    encoder: ConditionedPredictor
    fast: FastPredictor
    weight: float


class BlendedPredictor(LengthPredictor):
    """The weighted mean of two CDFs, calibrated as a whole.

    Where one of the two knows the LLM and the other does not, the one that knows it is heard.
    """

    def __init__(self, members: Members, calibration: GroupedCalibration) -> None:
        if not np.array_equal(members.encoder.parts.edges, members.fast.parts.edges):
            raise ModelError("the two predictors have other bins: train both with the same")
        self.members = members
        self._calibration = calibration

    @property
    def kind(self) -> str:
        """``blend``."""
        return "blend"

    @property
    def llms(self) -> tuple[str, ...]:
        """The LLMs that at least one of the two knows."""
        return tuple(dict.fromkeys((*self.members.encoder.llms, *self.members.fast.llms)))

    @property
    def edges(self) -> Ints:
        """int64[B + 1] in tokens."""
        return self.members.fast.parts.edges

    def predict(self, prompts: Sequence[Prompt]) -> list[LengthDistribution]:
        """One distribution per prompt, in order, cut at its ``max_tokens``."""
        if not prompts:
            return []
        cdf = self._calibration.apply(self.raw_cdf(prompts), prompts)
        return [
            distribution(self.edges, row, prompt.max_tokens)
            for row, prompt in zip(cdf, prompts, strict=True)
        ]

    def raw_cdf(self, prompts: Sequence[Prompt]) -> Floats:
        """float64[n, B + 1], the uncorrected CDF at the edges."""
        share = self._shares(prompts)[:, None]
        members = self.members
        return share * members.encoder.raw_cdf(prompts) + (1.0 - share) * members.fast.raw_cdf(
            prompts
        )

    def calibrated(self, prompts: Sequence[Prompt], samples: Ints) -> Self:
        """The same, corrected by how its forecasts held on prompts it did not see.

        ``samples`` is int64[n, S] in tokens, 0 where there is none.
        """
        asked, values = held(self.raw_cdf(prompts), self.edges, prompts, samples)
        return type(self)(self.members, GroupedCalibration.fit(values, asked))

    def taught(self, members: Members, llm: str, calibration: GroupedCalibration) -> Self:
        """With members that learned ``llm``, whose groups of ``calibration`` are taken."""
        return type(self)(members, self._calibration.with_group(llm, calibration))

    def to_files(self) -> dict[str, bytes]:
        """Everything needed to build it again, by file name."""
        state = {"weight": self.members.weight, "calibration": self._calibration.to_json()}
        return {
            **self.members.encoder.to_files(),
            **self.members.fast.to_files(),
            _STATE_FILE: json.dumps(state).encode(),
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        """Inverse of :meth:`to_files`."""
        from predictor.encoder.predictor import EncoderPredictor  # noqa: PLC0415 - loads torch

        encoder, fast = EncoderPredictor.from_files(files), FastPredictor.from_files(files)
        try:
            state = json.loads(files[_STATE_FILE])
            members = Members(encoder, fast, float(state["weight"]))
            return cls(members, GroupedCalibration.from_json(state["calibration"]))
        except (KeyError, TypeError, ValueError, DistributionError, ModelError) as error:
            raise ArtifactError(f"blend predictor: {error!r}; train the predictor anew") from error

    def _shares(self, prompts: Sequence[Prompt]) -> Floats:
        told = [
            (prompt.llm in self.members.encoder.llms, prompt.llm in self.members.fast.llms)
            for prompt in prompts
        ]
        return np.array([self.members.weight if a == b else float(a) for a, b in told])
