"""Scores of a prompt's wording: a linear model on hashed words, fitted by ridge regression."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from training.lengths import LengthRows

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
_FOLDS = 5


def word_scores(
    words: Sequence[Ints], wanted: Floats, *, size: int, penalty: float, seed: int
) -> tuple[Floats, Floats]:
    """The table float64[size, K], and float64[n, K] scores of the prompts it was fitted to.

    ``words`` are rows of the table for each prompt, ``wanted`` is float64[n, K]. The scores come
    out of five folds, each scored by a table that did not see it, so that what is trained on
    them learns how far to trust them. Both are scaled to a spread of one.
    """
    fold = np.random.default_rng(seed).permutation(len(words)) % _FOLDS
    scores = np.zeros_like(wanted)
    for number in range(_FOLDS):
        learn, judge = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        if learn.size and judge.size:
            table = _ridge([words[i] for i in learn], wanted[learn], size, penalty)
            scores[judge] = np.asarray(_matrix([words[i] for i in judge], size) @ table)
    spread = scores.std(axis=0)
    scale = 1.0 / np.where(spread > 1e-6, spread, 1.0)
    return _ridge(words, wanted, size, penalty) * scale, scores * scale


def wanted_scores(rows: LengthRows, prompts: Ints) -> Floats:
    """float64[len(prompts), K]: how long each prompt's answers are among those of the same LLM.

    The standardised log length, and the share of answers that pass each of five quantiles; the
    mean over all samples of all LLMs. A cut answer counts as long as its cap.
    """
    place = {int(prompt): number for number, prompt in enumerate(prompts)}
    sums = np.zeros((len(prompts), 1 + len(_LEVELS)))
    counts = np.zeros(len(prompts))
    for llm in np.unique(rows.llm_of):
        own = np.flatnonzero(rows.llm_of == llm)
        row, column = np.nonzero(rows.samples[own])
        logs = np.log1p(rows.samples[own][row, column])
        spread = float(logs.std()) or 1.0
        passed = logs[:, None] > np.quantile(logs, _LEVELS)[None, :]
        at = np.array([place[int(prompt)] for prompt in rows.prompt_of[own]])[row]
        np.add.at(sums, at, np.column_stack(((logs - logs.mean()) / spread, passed)))
        np.add.at(counts, at, 1.0)
    shares: Floats = sums / np.maximum(counts, 1.0)[:, None]
    return shares


def _ridge(words: Sequence[Ints], wanted: Floats, size: int, penalty: float) -> Floats:
    from sklearn.linear_model import Ridge  # noqa: PLC0415 - only fitting needs it

    model = Ridge(alpha=penalty, solver="sparse_cg", tol=1e-3).fit(_matrix(words, size), wanted)
    # With one score the coefficients lose an axis.
    return np.asarray(model.coef_, dtype=np.float64).reshape(wanted.shape[1], size).T


def _matrix(words: Sequence[Ints], size: int) -> "csr_array[np.float64]":
    from scipy.sparse import csr_array  # noqa: PLC0415 - heavy

    counts = np.array([len(some) for some in words])
    starts = np.concatenate(([0], np.cumsum(counts)))
    values = np.repeat(1.0 / np.sqrt(np.maximum(counts, 1)), counts)
    return csr_array((values, np.concatenate(words), starts), shape=(len(words), size))
