"""The pool of columns: one request or several at once, and room for more."""

import numpy as np

from predictor.distribution import LengthDistribution, stack
from scheduler.request_pool import LENGTH_BINS, RequestPool
from scheduler.snapshot import Column

FORECASTS = [LengthDistribution.point(8), LengthDistribution.point(300)]


def columns(*handles):
    values = np.arange(len(Column) * len(handles), dtype=float).reshape(len(Column), -1)
    values[Column.HANDLE] = handles
    return values


def test_several_at_once_are_what_each_by_itself_is():
    singly, together = RequestPool(4), RequestPool(4)
    values, handles = columns(2, 0), np.array([2, 0])
    for number, handle in enumerate(handles):
        singly.put(handle, values[:, number].tolist(), FORECASTS[number])
    together.fill(handles, values, *stack(FORECASTS, LENGTH_BINS))
    np.testing.assert_array_equal(singly.table(handles).values, values)
    np.testing.assert_array_equal(together.columns, singly.columns)
    np.testing.assert_array_equal(together.atoms, singly.atoms)
    assert np.ceil(singly.atoms[2]).tolist() == [8.0] * 16
    np.testing.assert_array_equal(together.lengths.cdf, singly.lengths.cdf)


def test_more_room_leaves_what_was_given_out_as_it_is():
    pool = RequestPool(1)
    pool.put(0, columns(0)[:, 0].tolist(), FORECASTS[0])
    before, table = pool.lengths, pool.table(np.array([0]))
    pool.grow()
    pool.put(1, columns(1)[:, 0].tolist(), FORECASTS[1])
    assert len(before.atoms) == 1
    assert table.values.shape == (len(Column), 1)
    assert np.ceil(pool.lengths.atoms[:, 0]).tolist() == [8.0, 300.0]
