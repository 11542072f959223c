"""The columns and length tables of all live requests, by handle."""

from collections.abc import Sequence

import numpy as np

from predictor.distribution import LengthDistribution, stack
from scheduler.lengths import fill_atoms
from scheduler.snapshot import ATOMS, Column, Floats, Ints, LengthTable, RequestTable
from scheduler.tracker_kernels import gather

# Bins kept per request: enough for a 64-bin forecast; finer ones are merged.
LENGTH_BINS = 64


class RequestPool:
    """Arrays with room for ``capacity`` requests; which handles are taken is the tracker's."""

    def __init__(self, capacity: int) -> None:
        self._columns = np.zeros((len(Column), capacity))
        self._edges = np.zeros((capacity, LENGTH_BINS + 1))
        self._cdf = np.ones((capacity, LENGTH_BINS + 1))
        self._atoms = np.ones((capacity, ATOMS))

    @property
    def columns(self) -> Floats:
        """float64[len(Column), capacity]; live."""
        return self._columns

    @property
    def atoms(self) -> Floats:
        """float64[capacity, ATOMS]."""
        return self._atoms

    @property
    def lengths(self) -> LengthTable:
        """The forecasts of all."""
        return LengthTable(edges=self._edges, cdf=self._cdf, atoms=self._atoms)

    def put(self, handle: int, column: Sequence[float], lengths: LengthDistribution) -> None:
        """Write one request; ``column`` is in the order of :class:`Column`."""
        self._columns[:, handle] = column
        edges, cdf = stack([lengths], LENGTH_BINS)
        self._edges[handle], self._cdf[handle] = edges[0], cdf[0]
        fill_atoms(np.zeros(1), np.zeros(1), edges, cdf, self._atoms[handle : handle + 1])

    def fill(self, handles: Ints, values: Floats, edges: Floats, cdf: Floats) -> None:
        """Write several, ``values`` being float64[len(Column), n]; their handles are filled in."""
        self._columns[:, handles] = values
        self._columns[Column.HANDLE, handles] = handles
        self._edges[handles], self._cdf[handles] = edges, cdf
        atoms = np.empty((len(handles), ATOMS))
        rows = np.arange(len(handles), dtype=np.float64)
        fill_atoms(rows, np.zeros(len(handles)), edges, cdf, atoms)
        self._atoms[handles] = atoms

    def table(self, handles: Ints) -> RequestTable:
        """Copy the columns of these requests."""
        values: Floats = gather(self._columns, handles)
        values.flags.writeable = False
        return RequestTable(values)

    def grow(self) -> None:
        """Double the room; snapshots keep the arrays they were given."""
        self._columns = np.concatenate([self._columns, np.zeros_like(self._columns)], axis=1)
        self._edges = np.concatenate([self._edges, np.zeros_like(self._edges)])
        self._cdf = np.concatenate([self._cdf, np.ones_like(self._cdf)])
        self._atoms = np.concatenate([self._atoms, np.ones_like(self._atoms)])
