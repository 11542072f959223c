"""Which requests of a long queue a policy is shown: the fronts of several orders; compiled.

A policy costs a microsecond or two for each request that it sees, so it cannot see 100,000 of them
in every step. Only the front of its order matters, since a step admits few. The keys below stand
for the orders that policies follow.
"""

from enum import IntEnum

import numpy as np
from numba import njit

from scheduler.latency import StepLatency, work_seconds
from scheduler.snapshot import Column, Floats, Ints
from scheduler.tracker import Tracker

_ARRIVAL_S, _PROMPT_TOKENS = int(Column.ARRIVAL_S), int(Column.PROMPT_TOKENS)
_PREFILL_LEFT, _GENERATED = int(Column.PREFILL_LEFT), int(Column.GENERATED)
_LAST_TOKEN_S, _PRIORITY = int(Column.LAST_TOKEN_S), int(Column.PRIORITY)
_TTFT_S, _E2E_S = int(Column.TTFT_S), int(Column.E2E_S)

# Requests that one look examines; a pass over a longer queue takes several looks.
PIECE = 8192


class Key(IntEnum):
    """Orders whose fronts are kept; ascending, ties by arrival, ``inf``: does not belong there."""

    SILENT = 0  # begun streams, the longest silent first
    DEADLINE = 1  # first deadline, missed ones included
    LATEST_START = 2  # latest start that still attains the SLO by the mean forecast
    LENGTH = 3  # mean remaining output tokens
    SERVICE = 4  # prefill and mean decode seconds, of those that can attain their SLO
    PROMPT = 5  # tokens to prefill, of those that can
    PRIORITY = 6  # vLLM's priority number


_SILENT, _DEADLINE, _LATEST_START = int(Key.SILENT), int(Key.DEADLINE), int(Key.LATEST_START)
_LENGTH, _SERVICE = int(Key.LENGTH), int(Key.SERVICE)
_PROMPT, _BY_PRIORITY = int(Key.PROMPT), int(Key.PRIORITY)
# Besides the keys: the oldest requests, of which the ageing bound needs to know, and the latest.
SHARES = len(Key) + 2


class Shortlist:
    """The fronts of all orders, found anew pass by pass; who joined since is shown as well.

    The oldest requests are always among those shown, so no request waits unseen for ever.
    """

    def __init__(self) -> None:
        self._queue: Ints = np.empty(0, dtype=np.int64)
        self._at = 0
        self._chosen: Ints = np.empty(0, dtype=np.int64)
        self._fronts: _Fronts | None = None

    def look(
        self, tracker: Tracker, *, now_s: float, latency: StepLatency, most: int, advance: bool
    ) -> Ints | None:
        """Handles of those to show, ``most`` of them in arrival order; ``None``: everybody.

        ``advance`` examines the next :data:`PIECE` of the queue. Cost: at most 1 ms, and 3 ns for
        each that waits.
        """
        waiting = tracker.waiting_handles()
        if len(waiting) <= most:
            self._fronts, self._chosen = None, self._chosen[:0]
            return None
        depth = max(most // SHARES, 1)
        if advance:
            self._examine(tracker, waiting, now_s, latency, depth)
        latest = np.array(tracker.latest_waiting, dtype=np.int64)[-depth:]
        return np.asarray(
            _shown(
                waiting,
                self._chosen,
                latest,
                tracker.columns.shape[1],
                depth,
                most,
            )
        )

    def _examine(
        self, tracker: Tracker, waiting: Ints, now_s: float, latency: StepLatency, depth: int
    ) -> None:
        """Take in one more piece; the last of a pass gives a new choice."""
        if self._fronts is None or self._at >= len(self._queue):
            # The pass keeps the queue as it is now, so that nobody slips through.
            self._queue, self._at, self._fronts = waiting, 0, _Fronts(depth)
        piece = self._queue[self._at : self._at + PIECE]
        self._at += PIECE
        fronts, columns = self._fronts, tracker.columns
        context = float(columns[Column.PROMPT_TOKENS, waiting[:depth]].mean())
        _scan(
            piece,
            tracker.waits,
            columns,
            tracker.atoms,
            latency.table,
            now_s,
            float(latency.decode_s(float(tracker.limits.max_num_seqs), context)),
            fronts.depth,
            fronts.keys,
            fronts.handles,
            fronts.counts,
            fronts.limits,
        )
        if self._at >= len(self._queue):
            self._chosen = np.asarray(_cut_all(fronts.depth, *fronts.arrays))


class _Fronts:
    """The best of each order so far, in room for twice as many: cut whenever it is full."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.keys = np.empty((len(Key), 2 * depth))
        self.handles = np.empty((len(Key), 2 * depth), dtype=np.int64)
        self.counts = np.zeros(len(Key), dtype=np.int64)
        # A key has to be less than this to be among the best.
        self.limits = np.full(len(Key), np.inf)

    @property
    def arrays(self) -> tuple[Floats, Ints, Ints, Floats]:
        """As the kernels take them."""
        return self.keys, self.handles, self.counts, self.limits


@njit(cache=True)
def _scan(  # type: ignore[no-untyped-def]
    piece, waits, columns, atoms, table, now_s, token_s, depth, keys, handles, counts, limits
):
    found = np.empty(keys.shape[0])
    for handle in piece:
        if not waits[handle]:
            continue
        _keys_of(columns[:, handle], atoms[handle], table, now_s, token_s, found)
        for row in range(len(found)):
            if found[row] < limits[row]:
                keys[row, counts[row]] = found[row]
                handles[row, counts[row]] = handle
                counts[row] += 1
                if counts[row] == keys.shape[1]:
                    _cut(row, depth, keys, handles, counts, limits)


@njit(cache=True)
def _keys_of(request, atoms, table, now_s, token_s, found):  # type: ignore[no-untyped-def]
    """Fill ``found``, float64[len(Key)]."""
    found[:] = np.inf
    arrival_s, generated = request[_ARRIVAL_S], request[_GENERATED]
    left = max(request[_PREFILL_LEFT], 1.0)
    tokens = max(atoms.mean() - generated, 1.0)
    prefill_s = work_seconds(table, 0.0, left * left, 0.0, 0.0, 0.0, left, left)
    decode_s = (tokens - 1.0) * token_s
    ttft_due_s = arrival_s + request[_TTFT_S] if generated == 0.0 else np.inf
    e2e_due_s = arrival_s + request[_E2E_S]
    latest_s = min(ttft_due_s, e2e_due_s - decode_s) - prefill_s
    if generated > 0.0:
        found[_SILENT] = arrival_s if np.isnan(request[_LAST_TOKEN_S]) else request[_LAST_TOKEN_S]
    found[_DEADLINE] = min(ttft_due_s, e2e_due_s)
    found[_LENGTH] = tokens
    found[_BY_PRIORITY] = request[_PRIORITY]
    if now_s <= latest_s < np.inf:
        found[_LATEST_START] = latest_s
        found[_SERVICE] = prefill_s + decode_s
        found[_PROMPT] = left


@njit(cache=True)
def _cut(row, depth, keys, handles, counts, limits):  # type: ignore[no-untyped-def]
    """Keep the best ``depth`` of one order."""
    count = counts[row]
    best = np.argsort(keys[row, :count], kind="mergesort")[:depth]
    keys[row, : len(best)] = keys[row, :count][best]
    handles[row, : len(best)] = handles[row, :count][best]
    counts[row] = len(best)
    if len(best) == depth:
        limits[row] = keys[row, depth - 1]


@njit(cache=True)
def _cut_all(depth, keys, handles, counts, limits):  # type: ignore[no-untyped-def]
    """int64[k]: the best of all orders; some stand there several times."""
    total = 0
    for row in range(keys.shape[0]):
        _cut(row, depth, keys, handles, counts, limits)
        total += counts[row]
    chosen = np.empty(total, np.int64)
    at = 0
    for row in range(keys.shape[0]):
        chosen[at : at + counts[row]] = handles[row, : counts[row]]
        at += counts[row]
    return chosen


@njit(cache=True)
def _shown(waiting, chosen, latest, capacity, oldest, most):  # type: ignore[no-untyped-def]
    """Of ``waiting``: the ``oldest``, the chosen, the latest; and older ones up to ``most``."""
    seen = np.zeros(capacity, np.bool_)
    seen[waiting[:oldest]] = True
    for handles in (chosen, latest):
        for handle in handles:
            seen[handle] = True
    missing = most
    for handle in waiting:
        missing -= seen[handle]
    found = np.empty(len(waiting), np.int64)
    count = 0
    for handle in waiting:
        if not seen[handle]:
            if missing <= 0:
                continue
            missing -= 1
        found[count] = handle
        count += 1
    return found[:count].copy()
