"""Soft labels over the bins from several sampled lengths, cut answers included."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.lengths import LengthRows

Ints = NDArray[np.int64]
Singles = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """What the samples of each row say about each bin; float32[n, B] each.

    ``ended``: share of samples that end in the bin. ``outlived``: share known to go on beyond
    it; a cut answer counts in the bins that lie wholly below its cap and in no other (right
    censoring). ``cdf``: share that ended up to the bin's upper edge. ``width``: the bin's width
    in tokens, 0 where a cut leaves open what happened.
    """

    ended: Singles
    outlived: Singles
    cdf: Singles
    width: Singles


def targets(rows: LengthRows, edges: Ints) -> Targets:
    """Labels of every row on the bins between ``edges`` (int64[B + 1])."""
    bins = len(edges) - 1
    shape = (len(rows), bins)
    place = np.clip(np.searchsorted(edges, rows.samples, side="left") - 1, 0, bins - 1)
    seen, cut = rows.seen, rows.cut
    count = np.maximum((seen | cut).sum(axis=1), 1).astype(np.float32)[:, None]
    ended = np.zeros(shape, dtype=np.float32)
    row, column = np.nonzero(seen)
    np.add.at(ended, (row, place[row, column]), 1.0)
    cdf = np.cumsum(ended, axis=1)
    beyond = seen.sum(axis=1, keepdims=True) - cdf
    below_cap = edges[None, 1:] < rows.caps[:, None]
    beyond = beyond + cut.sum(axis=1, keepdims=True) * below_cap
    width = np.broadcast_to(np.diff(edges).astype(np.float32), shape) * (
        below_cap | ~cut.any(axis=1, keepdims=True)
    )
    return Targets(
        ended=ended / count,
        outlived=(beyond / count).astype(np.float32),
        cdf=(cdf / count).astype(np.float32),
        width=width.astype(np.float32),
    )
