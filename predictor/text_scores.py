"""A linear model on hashed words: turns a prompt's wording into a few scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from predictor.errors import ArtifactError
from predictor.features import BUCKETS, ngram_buckets
from predictor.prompt import Prompt

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
_PENALTY = 3.0
_FOLDS = 5
SCORES = 1 + len(_LEVELS)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TextScores:
    """Ridge regression of the standardised log length and of five length thresholds.

    ``weights`` is float32[BUCKETS, SCORES], ``intercepts`` float64[SCORES].
    """

    weights: NDArray[np.float32]
    intercepts: Floats

    def __post_init__(self) -> None:
        if self.weights.shape != (BUCKETS, SCORES) or self.intercepts.shape != (SCORES,):
            raise ArtifactError(
                f"text scores of shape {self.weights.shape}: expected {(BUCKETS, SCORES)}; "
                "train the predictor anew"
            )

    @classmethod
    def fit(
        cls, prompts: Sequence[Prompt], lengths: ArrayLike, *, seed: int
    ) -> tuple[Self, Floats]:
        """The fitted scores, and float64[n, SCORES] for the training prompts themselves.

        The latter come out of five folds, each scored by a model that did not see it, so that
        a model stacked on top learns how far to trust them.
        """
        buckets = ngram_buckets(prompts)
        targets = _targets(np.asarray(lengths, dtype=np.float64))
        fold = np.random.default_rng(seed).permutation(len(prompts)) % _FOLDS
        held_out = np.empty_like(targets)
        for number in range(_FOLDS):
            learn, judge = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
            model = cls._ridge([buckets[i] for i in learn], targets[learn])
            held_out[judge] = model._apply([buckets[i] for i in judge])
        return cls._ridge(buckets, targets), held_out

    def scores(self, prompts: Sequence[Prompt]) -> Floats:
        """float64[n, SCORES]."""
        return self._apply(ngram_buckets(prompts))

    @classmethod
    def _ridge(cls, buckets: Sequence[Ints], targets: Floats) -> Self:
        from scipy.sparse import csr_array  # noqa: PLC0415 - only fitting needs them
        from sklearn.linear_model import Ridge  # noqa: PLC0415

        sizes = np.array([max(len(row), 1) for row in buckets])
        starts = np.concatenate(([0], np.cumsum([len(row) for row in buckets])))
        values = np.repeat(1.0 / np.sqrt(sizes), np.diff(starts))
        matrix = csr_array((values, np.concatenate(buckets), starts), shape=(len(buckets), BUCKETS))
        model = Ridge(alpha=_PENALTY, solver="sparse_cg", tol=1e-3).fit(matrix, targets)
        return cls(
            weights=np.ascontiguousarray(model.coef_.T, dtype=np.float32),
            intercepts=np.asarray(model.intercept_, dtype=np.float64),
        )

    def _apply(self, buckets: Sequence[Ints]) -> Floats:
        scores = np.tile(self.intercepts, (len(buckets), 1))
        for row, indices in enumerate(buckets):
            if indices.size:
                scores[row] += self.weights[indices].sum(axis=0) / np.sqrt(indices.size)
        return scores


def _targets(lengths: Floats) -> Floats:
    """float64[n, SCORES]: the standardised log length, then whether it passes each quantile."""
    logs = np.log1p(lengths)
    spread = float(logs.std()) or 1.0
    passed = lengths[:, None] > np.quantile(lengths, _LEVELS)[None, :]
    return np.column_stack(((logs - logs.mean()) / spread, passed))
