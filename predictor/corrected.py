"""A predictor that reads what is out of an answer to say how much is still to come."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from predictor.calibration import Calibration
from predictor.conditioned import held
from predictor.distribution import LengthDistribution, log_edges
from predictor.errors import ArtifactError, DatasetError, DistributionError
from predictor.partial import PARTIAL_FEATURE_VERSION, PartialAnswer, partial_features
from predictor.prompt import Prompt
from predictor.protocol import LengthPredictor
from predictor.quantiles import LEVELS, BoostedQuantiles, Progress

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MIN_ANSWERS = 50
# Before so many tokens are out, they tell nothing that the prompt did not.
FEWEST_TOKENS = 32
_BINS = 64
_STATE_FILE = "corrected.json"
_PREFIX = "rest_"


@dataclass(frozen=True, slots=True, eq=False)
class Correction:
    """What partial answers teach: the rest's quantiles, moved from where the prompt put them.

    ``edges`` is int64[B + 1] in tokens still to come.
    """

    quantiles: BoostedQuantiles
    edges: Ints
    calibration: Calibration

    @classmethod
    def fit(
        cls,
        answers: Sequence[PartialAnswer],
        plain: Sequence[LengthDistribution],
        rest: ArrayLike,
        *,
        seed: int = 0,
        threads: int = 2,
        progress: Progress,
    ) -> Self:
        """``plain`` is what was known of each rest without its text, ``rest`` what came."""
        tokens = np.maximum(np.asarray(rest, dtype=np.float64), 1.0)
        if len(answers) < MIN_ANSWERS:
            raise DatasetError(
                f"{len(answers)} partial answers to learn from: give at least {MIN_ANSWERS}"
            )
        columns, start = _columns(answers, plain)
        quantiles = BoostedQuantiles.fit(
            columns, tokens, start=start, seed=seed, threads=threads, progress=progress
        )
        edges = log_edges(max(int(tokens.max()), _BINS), _BINS)
        return cls(quantiles, edges, Calibration.identity())

    def calibrated(
        self,
        answers: Sequence[PartialAnswer],
        plain: Sequence[LengthDistribution],
        rest: ArrayLike,
    ) -> Self:
        """The same, corrected by how it held on answers it did not see."""
        asked = [answer.prompt for answer in answers]
        samples = np.asarray(rest, dtype=np.int64)[:, None]
        _, values = held(self._raw_cdf(answers, plain), self.edges, asked, samples)
        return type(self)(self.quantiles, self.edges, Calibration.fit(values))

    def apply(
        self, answers: Sequence[PartialAnswer], plain: Sequence[LengthDistribution]
    ) -> list[LengthDistribution]:
        """The rest of each answer; as ``plain`` says where few tokens are out."""
        found = list(plain)
        told = [row for row, answer in enumerate(answers) if answer.tokens >= FEWEST_TOKENS]
        if not told:
            return found
        cdf = self.calibration.apply(
            self._raw_cdf([answers[row] for row in told], [plain[row] for row in told])
        )
        for place, row in enumerate(told):
            found[row] = LengthDistribution.from_cdf(self.edges, cdf[place])
        return found

    def _raw_cdf(
        self, answers: Sequence[PartialAnswer], plain: Sequence[LengthDistribution]
    ) -> Floats:
        columns, start = _columns(answers, plain)
        return self.quantiles.cdf(columns, self.edges, start)


class CorrectedPredictor(LengthPredictor):
    """Another predictor, with a :class:`Correction` on what is left of answers under way."""

    def __init__(self, base: LengthPredictor, correction: Correction) -> None:
        # A correction replaces an earlier one.
        self.base: LengthPredictor = base.base if isinstance(base, CorrectedPredictor) else base
        self._correction = correction

    @property
    def kind(self) -> str:
        """``corrected``."""
        return "corrected"

    def predict(self, prompts: Sequence[Prompt]) -> list[LengthDistribution]:
        """As the other predictor."""
        return self.base.predict(prompts)

    def remaining(self, answers: Sequence[PartialAnswer]) -> list[LengthDistribution]:
        """What is left of each, by prompt, tokens out and the text that came."""
        # The correction learned from forecasts without a limit.
        free = [replace(a, prompt=replace(a.prompt, max_tokens=None)) for a in answers]
        rests = self._correction.apply(free, self.base.remaining(free))
        return [
            rest if (most := answer.prompt.max_tokens) is None
            else rest.truncated(max(most - answer.tokens, 1))
            for answer, rest in zip(answers, rests, strict=True)
        ]  # fmt: skip

    def to_files(self) -> dict[str, bytes]:
        """Everything needed to build it again, by file name."""
        correction = self._correction
        state = {
            "base": self.base.kind,
            "features": PARTIAL_FEATURE_VERSION,
            "levels": LEVELS,
            "edges": correction.edges.tolist(),
            "tail": correction.quantiles.tail.tolist(),
            "calibration": correction.calibration.observed.tolist(),
        }
        return {
            **self.base.to_files(),
            **correction.quantiles.to_files(_PREFIX),
            _STATE_FILE: json.dumps(state).encode(),
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        """Inverse of :meth:`to_files`."""
        from predictor.artifact import kind_named  # noqa: PLC0415 - it knows this class

        try:
            state = json.loads(files[_STATE_FILE])
            kind = str(state["base"])
            if kind == "corrected":
                raise ArtifactError(
                    "corrected predictor: it has no base; run `slotwise refine` anew"
                )
            base = kind_named(kind).from_files(files)
            return cls(base, _correction(state, files))
        except (KeyError, TypeError, ValueError, IndexError, DistributionError) as error:
            raise ArtifactError(
                f"corrected predictor: {error!r}; run `slotwise refine` anew"
            ) from error


def _correction(state: Mapping[str, object], files: Mapping[str, bytes]) -> Correction:
    if state["features"] != PARTIAL_FEATURE_VERSION or state["levels"] != list(LEVELS):
        raise ArtifactError(
            "corrected predictor: made for other features; run `slotwise refine` anew"
        )
    tail = np.array(state["tail"], dtype=np.float64)
    observed = np.array(state["calibration"], dtype=np.float64)
    return Correction(
        quantiles=BoostedQuantiles.from_files(files, tail, _PREFIX),
        edges=np.array(state["edges"], dtype=np.int64),
        calibration=Calibration(observed),
    )


def _columns(
    answers: Sequence[PartialAnswer], plain: Sequence[LengthDistribution]
) -> tuple[Floats, Floats]:
    """float64[n, F] to learn from, and float64[n, LEVELS], the logs to begin at."""
    start = np.log1p([forecast.quantiles(LEVELS) for forecast in plain])
    return np.column_stack((partial_features(answers), start)), start
