"""Many compact distributions at once, as they come from outside: checked and laid out in rows."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from predictor.distribution import (
    MAX_BINS,
    MAX_TOKENS,
    Floats,
    LengthDistribution,
)
from predictor.errors import DistributionError

_SUM_TOLERANCE = 1e-6
_NUMBERS = {int, float}


def rows_from_floats(transports: Sequence[object], *, bins: int) -> tuple[Floats, Floats]:
    """Edges and CDF as rows, float64[n, bins + 1] each, of what ``to_floats`` returned.

    The same checks as :meth:`LengthDistribution.from_floats` and the same rows as
    :func:`predictor.distribution.stack`, without an object for each. Raises
    ``DistributionError`` that names the first bad item. Cost: about 4 us for each of 32 bins.
    """
    edges = np.empty((len(transports), bins + 1))
    cdf = np.ones((len(transports), bins + 1))
    by_size: defaultdict[int, list[int]] = defaultdict(list)
    lists: list[list[float]] = []
    for item, transport in enumerate(transports):
        if type(transport) is not list:
            raise DistributionError(f"item {item}: a distribution is a flat list of numbers")
        lists.append(transport)
        by_size[len(transport)].append(item)
    for size, items in by_size.items():
        found = _matrix([lists[item] for item in items], size, items)
        _fill(found, size // 2, np.array(items), edges, cdf)
    return edges, cdf


def _matrix(group: Sequence[Sequence[float]], size: int, items: Sequence[int]) -> Floats:
    """float64[len(group), size], checked."""
    if size % 2 == 0 or not 3 <= size <= 2 * MAX_BINS + 1:
        raise DistributionError(
            f"item {items[0]}: {size} numbers are no distribution; give B + 1 edges, then B "
            "probabilities"
        )
    for item, row in zip(items, group, strict=True):
        if not set(map(type, row)) <= _NUMBERS:
            raise DistributionError(f"item {item}: a distribution's list must hold numbers only")
    values = np.fromiter(chain.from_iterable(group), np.float64, len(group) * size)
    matrix = values.reshape(len(group), size)
    bad = _faulty(matrix, size // 2)
    if bad.any():
        first = int(np.argmax(bad))
        try:
            LengthDistribution.from_floats(list(group[first]))
        except DistributionError as error:
            raise DistributionError(f"item {items[first]}: {error}") from error
        raise DistributionError(f"item {items[first]}: its probabilities do not sum to 1")
    return matrix


def _faulty(matrix: Floats, bins: int) -> NDArray[np.bool_]:
    """bool[n]: which rows are no distributions."""
    edges, probabilities = matrix[:, : bins + 1], matrix[:, bins + 1 :]
    with np.errstate(invalid="ignore"):
        good = (
            np.isfinite(matrix).all(axis=1)
            & (edges >= 0.0).all(axis=1)
            & (edges <= MAX_TOKENS).all(axis=1)
            & (np.floor(edges) == edges).all(axis=1)
            & (np.diff(edges, axis=1) > 0.0).all(axis=1)
            & (probabilities >= 0.0).all(axis=1)
            & (np.abs(probabilities.sum(axis=1) - 1.0) <= _SUM_TOLERANCE)
        )
    return np.asarray(~good, dtype=np.bool_)


def _fill(matrix: Floats, have: int, items: NDArray[np.int64], edges: Floats, cdf: Floats) -> None:
    want = edges.shape[1] - 1
    cumulative = np.zeros((len(matrix), have + 1))
    np.cumsum(matrix[:, have + 1 :], axis=1, out=cumulative[:, 1:])
    cumulative /= cumulative[:, -1:]
    kept = np.arange(have + 1)
    if have > want:
        kept = np.rint(np.linspace(0, have, want + 1)).astype(np.int64)
    edges[items] = matrix[:, [have]]
    edges[items, : len(kept)] = matrix[:, kept]
    cdf[items, : len(kept)] = cumulative[:, kept]
