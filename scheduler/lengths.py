"""Remaining lengths of many requests at once, straight from the snapshot's tables."""

import numpy as np

from scheduler.compiled import compiled
from scheduler.snapshot import Floats, Ints, LengthTable, RequestTable

_FOR_A_MEAN = 32


def expected_remaining(table: RequestTable, lengths: LengthTable) -> Floats:
    """float64[n]: mean tokens still to come, given those already out.

    Cost: 0.2 us each.
    """
    return _means(table.handle, table.generated, lengths.edges, lengths.cdf)


def remaining_atoms(table: RequestTable, lengths: LengthTable, count: int) -> Floats:
    """float64[n, count]: equally likely values of the tokens still to come, ascending.

    Value i is the ``(i + 0.5) / count`` quantile of the length given that it exceeds the
    tokens already out, less those. A request that has outlived its forecast is expected to
    end with the next token.
    """
    out = np.empty((len(table), count))
    fill_atoms(table.handle, table.generated, lengths.edges, lengths.cdf, out)
    return out


@compiled
def _means(handles: Ints, generated: Floats, edges: Floats, cdf: Floats) -> Floats:
    means, atoms = np.empty(len(handles)), np.empty(_FOR_A_MEAN)
    for row in range(len(handles)):
        handle = int(handles[row])
        _fill_row(generated[row], edges[handle], cdf[handle], atoms)
        means[row] = atoms.mean()
    return means


@compiled
def fill_atoms(
    handles: Ints | Floats, generated: Floats, edges: Floats, cdf: Floats, out: Floats
) -> None:
    """Fill ``out`` as :func:`remaining_atoms` describes. Cost: 0.4 us per request."""
    for row in range(handles.shape[0]):
        handle = int(handles[row])
        _fill_row(generated[row], edges[handle], cdf[handle], out[row])


@compiled
def fill_known_atoms(
    handles: Floats, generated: Floats, lengths: tuple[Floats, Floats, Floats], out: Floats
) -> None:
    """The same for ``ATOMS`` atoms; those of a request with no token yet are at hand already.

    ``lengths`` are the arrays of a :class:`LengthTable`. Cost: 20 ns for such a request.
    """
    edges, cdf, atoms = lengths
    for row in range(handles.shape[0]):
        handle = int(handles[row])
        if generated[row] == 0.0:
            out[row] = atoms[handle]
        else:
            _fill_row(generated[row], edges[handle], cdf[handle], out[row])


@compiled
def _fill_row(k: float, edge: Floats, cum: Floats, out: Floats) -> None:
    """The atoms of one request after ``k`` tokens."""
    count = out.shape[0]
    bins = edge.shape[0] - 1
    b = 0
    while b < bins and edge[b + 1] <= k:
        b += 1
    gone = 1.0
    if b < bins:
        width = edge[b + 1] - edge[b]
        inside = max(k - edge[b], 0.0)
        gone = cum[b] + (cum[b + 1] - cum[b]) * inside / width
    left = 1.0 - gone
    if left <= 1e-9:
        out[:] = 1.0
        return
    for i in range(count):
        target = gone + left * (i + 0.5) / count
        while b < bins - 1 and cum[b + 1] < target:
            b += 1
        mass = cum[b + 1] - cum[b]
        at = edge[b + 1]
        if mass > 0.0:
            at = edge[b] + (edge[b + 1] - edge[b]) * (target - cum[b]) / mass
        out[i] = max(at - k, 1.0)
