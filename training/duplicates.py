"""Finds prompts that say nearly the same as a training prompt."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from predictor.features import BUCKETS, ngram_buckets
from predictor.prompt import Prompt
from training.lengths import LengthRows

if TYPE_CHECKING:
    from scipy.sparse import csr_array

ALIKE = 0.7


def near_duplicates(rows: LengthRows, *, alike: float = ALIKE) -> NDArray[np.bool_]:
    """bool[prompts]: whether a prompt outside the training side has a neighbour inside it.

    Neighbours share words and word pairs of head and tail with a cosine of at least ``alike``.
    """
    vectors = _vectors([prompt.text for prompt in rows.prompts])
    train = np.array([prompt.split == "train" for prompt in rows.prompts])
    found = np.zeros(len(rows.prompts), dtype=bool)
    others = np.flatnonzero(~train)
    if not train.any() or not others.size:
        return found
    nearest = (vectors[others] @ vectors[np.flatnonzero(train)].T).max(axis=1)
    found[others] = nearest.toarray().ravel() >= alike
    return found


def _vectors(texts: Sequence[str]) -> "csr_array[np.float64]":
    from scipy.sparse import csr_array  # noqa: PLC0415 - heavy

    buckets = ngram_buckets([Prompt(text) for text in texts])
    starts = np.concatenate(([0], np.cumsum([len(some) for some in buckets])))
    sizes = np.array([max(len(some), 1) for some in buckets])
    values = np.repeat(1.0 / np.sqrt(sizes), np.diff(starts))
    return csr_array((values, np.concatenate(buckets), starts), shape=(len(texts), BUCKETS))
