"""Which requests of a long queue a policy is shown: the fronts of several orders; compiled.

A policy costs a microsecond or two for each request that it sees, so it cannot see 100,000 of them
in every step. Only the front of its order matters, since a step admits few. The keys below stand
for the orders that policies follow.
"""

from enum import IntEnum
from typing import NamedTuple, Self

import numpy as np

from scheduler.compiled import compiled
from scheduler.latency import StepLatency, StepWork, work_seconds
from scheduler.snapshot import Column, Floats, Ints
from scheduler.tracker import Tracker
from scheduler.waiting import Marks

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
        return _shown(waiting, self._chosen, latest, tracker.columns.shape[1], depth, most)

    def _examine(
        self, tracker: Tracker, waiting: Ints, now_s: float, latency: StepLatency, depth: int
    ) -> None:
        """Take in one more piece; the last of a pass gives a new choice."""
        if self._fronts is None or self._at >= len(self._queue):
            # The pass keeps the queue as it is now, so that nobody slips through.
            self._queue, self._at, self._fronts = waiting, 0, _Fronts.empty(depth)
        piece = self._queue[self._at : self._at + PIECE]
        self._at += PIECE
        fronts, columns = self._fronts, tracker.columns
        context = float(columns[Column.PROMPT_TOKENS, waiting[:depth]].mean())
        token_s = float(latency.decode_s(float(tracker.limits.max_num_seqs), context))
        pace = (latency.table, now_s, token_s)
        _scan(piece, tracker.waits, columns, tracker.atoms, pace, fronts)
        if self._at >= len(self._queue):
            self._chosen = _cut_all(fronts)


class _Fronts(NamedTuple):
    """The best of each order so far, in room for twice as many: cut whenever it is full.

    ``keys`` and ``handles`` are [len(Key), 2 * ``depth``], of which ``counts`` are taken. A key has
    to be less than that of ``limits`` to be among the best.
    """

    depth: int
    keys: Floats
    handles: Ints
    counts: Ints
    limits: Floats

    @classmethod
    def empty(cls, depth: int) -> Self:
        """Nobody is there yet."""
        rows, size = len(Key), 2 * depth
        return cls(
            depth,
            np.empty((rows, size)),
            np.empty((rows, size), dtype=np.int64),
            np.zeros(rows, dtype=np.int64),
            np.full(rows, np.inf),
        )


@compiled
def _scan(
    piece: Ints,
    waits: Marks,
    columns: Floats,
    atoms: Floats,
    pace: tuple[Floats, float, float],
    fronts: _Fronts,
) -> None:
    """``pace``: the latency's table, the time, and seconds between two tokens."""
    table, now_s, token_s = pace
    keys, handles, counts, limits = fronts.keys, fronts.handles, fronts.counts, fronts.limits
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
                    _cut(row, fronts)


@compiled
def _keys_of(
    request: Floats, atoms: Floats, table: Floats, now_s: float, token_s: float, found: Floats
) -> None:
    """Fill ``found``, float64[len(Key)]."""
    found[:] = np.inf
    arrival_s, generated = request[_ARRIVAL_S], request[_GENERATED]
    left = max(request[_PREFILL_LEFT], 1.0)
    tokens = max(atoms.mean() - generated, 1.0)
    prefill_s = work_seconds(table, StepWork(0.0, left * left, 0.0, 0.0, 0.0, left, left))
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


@compiled
def _cut(row: int, fronts: _Fronts) -> None:
    """Keep the best ``depth`` of one order."""
    depth, keys, handles, counts, limits = fronts
    count = counts[row]
    best = np.argsort(keys[row, :count], kind="mergesort")[:depth]
    keys[row, : len(best)] = keys[row, :count][best]
    handles[row, : len(best)] = handles[row, :count][best]
    counts[row] = len(best)
    if len(best) == depth:
        limits[row] = keys[row, depth - 1]


@compiled
def _cut_all(fronts: _Fronts) -> Ints:
    """int64[k]: the best of all orders; some stand there several times."""
    keys, handles, counts = fronts.keys, fronts.handles, fronts.counts
    total = 0
    for row in range(keys.shape[0]):
        _cut(row, fronts)
        total += counts[row]
    chosen = np.empty(total, np.int64)
    at = 0
    for row in range(keys.shape[0]):
        chosen[at : at + counts[row]] = handles[row, : counts[row]]
        at += counts[row]
    return chosen


@compiled
def _shown(
    waiting: Ints, chosen: Ints, latest: Ints, capacity: int, oldest: int, most: int
) -> Ints:
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
