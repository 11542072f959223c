"""Gradient-boosted quantiles of the answer's length, on cheap features of the prompt."""

import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from predictor.calibration import Calibration
from predictor.distribution import LengthDistribution, log_edges
from predictor.errors import ArtifactError, DatasetError, DistributionError
from predictor.features import FEATURE_VERSION, lexical_features
from predictor.prompt import Prompt
from predictor.protocol import LengthPredictor
from predictor.quantiles import LEVELS, BoostedQuantiles, Progress
from predictor.text_scores import TextScores

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MIN_ROWS = 50
_BINS = 48
_STATE_FILE = "boosted.json"
_TEXT_FILE = "text_scores.npy"


class BoostedPredictor(LengthPredictor):
    """:class:`BoostedQuantiles` of the length, read at log-spaced edges and calibrated."""

    def __init__(
        self,
        *,
        quantiles: BoostedQuantiles,
        text: TextScores,
        edges: Ints,
        calibration: Calibration,
    ) -> None:
        self._quantiles = quantiles
        self._text = text
        self._edges = edges
        self._calibration = calibration

    @property
    def kind(self) -> str:
        """``lightgbm``."""
        return "lightgbm"

    @classmethod
    def fit(
        cls,
        prompts: Sequence[Prompt],
        lengths: ArrayLike,
        *,
        seed: int = 0,
        threads: int = 2,
        progress: Progress | None = None,
    ) -> Self:
        """Learn from observed lengths in tokens, one per prompt, at least 50.

        ``progress`` is told the stage and the share done, 0 to 1.
        """
        observed = _checked_lengths(prompts, lengths)
        report = progress or _silent
        report("words", 0.0)
        text, scores = TextScores.fit(prompts, observed, seed=seed)
        columns = np.column_stack((lexical_features(prompts), scores))
        return cls(
            quantiles=BoostedQuantiles.fit(
                columns, observed, seed=seed, threads=threads, progress=report
            ),
            text=text,
            edges=log_edges(max(int(observed.max()), _BINS), _BINS),
            calibration=Calibration.identity(),
        )

    def calibrated(self, prompts: Sequence[Prompt], lengths: ArrayLike) -> Self:
        """The same, corrected by how its forecasts held on these prompts it did not see."""
        observed = np.asarray(lengths, dtype=np.float64)
        cdf = self._raw_cdf(prompts)
        transforms = [
            np.interp(length - 0.5, self._edges, row)
            for length, row in zip(observed, cdf, strict=True)
        ]
        return type(self)(
            quantiles=self._quantiles,
            text=self._text,
            edges=self._edges,
            calibration=Calibration.fit(transforms),
        )

    def predict(self, prompts: Sequence[Prompt]) -> list[LengthDistribution]:
        """One distribution per prompt, in order, cut at its ``max_tokens``."""
        if not prompts:
            return []
        rows = self._calibration.apply(self._raw_cdf(prompts))
        return [
            _distribution(self._edges, row, prompt.max_tokens)
            for row, prompt in zip(rows, prompts, strict=True)
        ]

    def to_files(self) -> dict[str, bytes]:
        """Everything needed to build it again, by file name."""
        state = {
            "features": FEATURE_VERSION,
            "levels": LEVELS,
            "edges": self._edges.tolist(),
            "tail": self._quantiles.tail.tolist(),
            "calibration": self._calibration.observed.tolist(),
            "intercepts": self._text.intercepts.tolist(),
        }
        return {
            _STATE_FILE: json.dumps(state).encode(),
            _TEXT_FILE: _npy(self._text.weights),
            **self._quantiles.to_files(),
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        """Inverse of :meth:`to_files`."""
        try:
            return cls._from_files(files)
        except (KeyError, TypeError, ValueError, IndexError, DistributionError) as error:
            raise ArtifactError(
                f"lightgbm predictor: {error!r}; train the predictor anew"
            ) from error

    @classmethod
    def _from_files(cls, files: Mapping[str, bytes]) -> Self:
        state = json.loads(files[_STATE_FILE])
        if state["features"] != FEATURE_VERSION or tuple(state["levels"]) != LEVELS:
            raise ArtifactError(
                "lightgbm predictor: made for other features or levels; train the predictor anew"
            )
        return cls(
            quantiles=BoostedQuantiles.from_files(files, np.array(state["tail"], dtype=np.float64)),
            text=TextScores(
                weights=np.load(BytesIO(files[_TEXT_FILE]), allow_pickle=False),
                intercepts=np.array(state["intercepts"], dtype=np.float64),
            ),
            edges=np.array(state["edges"], dtype=np.int64),
            calibration=Calibration(np.array(state["calibration"], dtype=np.float64)),
        )

    def _raw_cdf(self, prompts: Sequence[Prompt]) -> Floats:
        """float64[n, bins + 1], the uncorrected CDF at the edges."""
        columns = np.column_stack((lexical_features(prompts), self._text.scores(prompts)))
        return self._quantiles.cdf(columns, self._edges)


def _checked_lengths(prompts: Sequence[Prompt], lengths: ArrayLike) -> Floats:
    observed = np.asarray(lengths, dtype=np.float64)
    if observed.shape != (len(prompts),):
        raise DatasetError(
            f"{len(prompts)} prompts with lengths of shape {observed.shape}: give one per prompt"
        )
    if len(prompts) < MIN_ROWS:
        raise DatasetError(
            f"{len(prompts)} prompts to learn from: give at least {MIN_ROWS}, "
            "or use the history predictor"
        )
    return np.maximum(observed, 1.0)


def _npy(values: NDArray[np.float32]) -> bytes:
    file = BytesIO()
    np.save(file, values, allow_pickle=False)
    return file.getvalue()


def _distribution(edges: Ints, cdf: Floats, max_tokens: int | None) -> LengthDistribution:
    distribution = LengthDistribution.from_cdf(edges, cdf)
    return distribution if max_tokens is None else distribution.truncated(max_tokens)


def _silent(stage: str, share: float) -> None:
    """Nobody listens."""
    del stage, share
