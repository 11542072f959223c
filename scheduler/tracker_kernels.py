"""The compiled steps of :class:`scheduler.tracker.Tracker`, each over the pool of columns."""

import numpy as np

from scheduler.compiled import compiled
from scheduler.snapshot import Column, Floats, Ints

_PREFILL_LEFT, _GENERATED = int(Column.PREFILL_LEFT), int(Column.GENERATED)
_FIRST_S, _LAST_TOKEN_S = int(Column.FIRST_TOKEN_S), int(Column.LAST_TOKEN_S)


# Compiled although numpy could do both: it would let go of the interpreter lock, and getting it
# back from a busy I/O thread has cost a step up to 4 ms.
@compiled
def gather(pool: Floats, handles: Ints) -> Floats:
    """Return the columns of ``handles``, float64[rows, n]."""
    values = np.empty((pool.shape[0], len(handles)))
    for column, handle in enumerate(handles):
        values[:, column] = pool[:, handle]
    return values


@compiled
def compute(pool: Floats, handles: Ints, tokens: Ints) -> None:
    """Take the tokens that a step computes off what is left of each prefill."""
    for i, handle in enumerate(handles):
        pool[_PREFILL_LEFT, handle] = max(pool[_PREFILL_LEFT, handle] - tokens[i], 0.0)


@compiled
def put_out(pool: Floats, handles: Ints, counts: Ints, at_s: float) -> None:
    """Count the tokens that came out of each request at ``at_s``."""
    for i, handle in enumerate(handles):
        if pool[_GENERATED, handle] == 0.0:
            pool[_FIRST_S, handle] = at_s
        pool[_LAST_TOKEN_S, handle] = at_s
        pool[_GENERATED, handle] += counts[i]
