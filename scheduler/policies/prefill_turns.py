"""Steps that choose anew among all prefills, begun or waiting, within what an engine can be told.

An engine serves running requests before it admits others, and no prefill can be given a share. A
begun prefill that stands behind a waiting one therefore sits out, unless the tokens suffice.
"""

from typing import NamedTuple

import numpy as np

from scheduler.compiled import compiled
from scheduler.decision import StepDecision
from scheduler.phase import is_prefilling
from scheduler.sliding.turns import sitting_out
from scheduler.snapshot import Column, Floats, Ints, RequestTable, Snapshot

_HANDLE = int(Column.HANDLE)
_PREFILL_LEFT = int(Column.PREFILL_LEFT)

# KV memory that a decode may newly take in a step.
BLOCK_TOKENS = 16


class Prefills(NamedTuple):
    """Who has a prompt to compute, beside the handles of the ``decodes``, int64[d].

    ``values``, float64[len(Column), n], are columns of request tables: the first ``begun`` hold a
    slot, the others wait; each kind stands in the engine's order.
    """

    decodes: Ints
    values: Floats
    begun: int

    @property
    def handle(self) -> Ints:
        """int64[n]."""
        return RequestTable(self.values).handle


def prefills_of(snapshot: Snapshot) -> Prefills:
    """Read a snapshot. Cost: 5 us with 150 waiting."""
    return Prefills(*_prefills(snapshot.running.values, snapshot.waiting.values))


def step_in_order(
    snapshot: Snapshot,
    prefills: Prefills,
    order: Ints,
    *,
    budget: int,
    relegated: Ints,
) -> StepDecision:
    """Give each decode its token, and the rest of the ``budget`` to prefills in ``order``.

    ``order`` are places of all of them, ``relegated`` of those that stand last for being late.
    """
    out = sitting_out(
        order,
        prefills.values[_PREFILL_LEFT],
        prefills.begun,
        max(budget - len(prefills.decodes), 0),
        slots=free_slots(snapshot),
        kv_tokens=free_kv_tokens(snapshot, len(prefills.decodes) + prefills.begun, BLOCK_TOKENS),
        block_tokens=BLOCK_TOKENS,
    )
    return decision_of(
        prefills.decodes,
        prefills.handle,
        prefills.begun,
        order,
        budget=budget,
        out=out,
        relegated=relegated,
    )


def decision_of(
    decodes: Ints,
    handle: Ints,
    begun: int,
    order: Ints,
    *,
    budget: int,
    out: Ints,
    relegated: Ints,
) -> StepDecision:
    """Decodes first, then the prefills in ``order`` without those that are ``out``.

    ``handle``, int64[n], of prefills, the first ``begun`` of which hold a slot; ``order``,
    ``out`` and ``relegated`` are places in it.
    """
    waiting = order[order >= begun]
    return StepDecision(
        order=handle[waiting],
        running=np.concatenate((decodes, handle[order[order < begun]])),
        held=handle[out],
        relegated=handle[relegated[relegated >= begun]],
        token_budget=max(budget, 1),
        # While there is no prefill, nothing changes until somebody comes or goes.
        stands=not len(handle) and len(decodes) > 0,
    )


def free_slots(snapshot: Snapshot) -> int:
    """Sequences that the engine could admit."""
    return snapshot.limits.max_num_seqs - len(snapshot.running)


def free_kv_tokens(snapshot: Snapshot, running: int, block_tokens: int) -> float:
    """Free KV memory, in tokens, once each of the ``running`` has taken a new block."""
    return float(snapshot.kv_tokens_free - running * block_tokens)


@compiled
def _prefills(running: Floats, waiting: Floats) -> tuple[Ints, Floats, int]:
    size, n = running.shape[1], waiting.shape[1]
    decodes, prefilling = np.empty(size, np.int64), np.empty(size, np.int64)
    d = begun = 0
    for i in range(size):
        if is_prefilling(running[:, i]):
            prefilling[begun] = i
            begun += 1
        else:
            decodes[d] = int(running[_HANDLE, i])
            d += 1
    # A whole array, no part of a larger one: kernels are compiled for one memory layout.
    values = np.empty((running.shape[0], begun + n))
    for place in range(begun):
        values[:, place] = running[:, prefilling[place]]
    values[:, begun:] = waiting
    return decodes[:d], values, begun
