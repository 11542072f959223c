"""Keeps the picture of one engine up to date by events, and hands out snapshots of it."""

from collections import Counter, deque
from collections.abc import Iterable, KeysView, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from predictor.distribution import LengthDistribution
from predictor.errors import SnapshotError
from scheduler.blocked import Blocked
from scheduler.latency import StepLatency
from scheduler.request_pool import RequestPool
from scheduler.slo import Slo
from scheduler.snapshot import Column, Floats, Ints, Limits, RequestTable, Snapshot
from scheduler.tracker_kernels import compute, put_out
from scheduler.waiting import WaitingLine, by_priority


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request as the engine first sees it; ``arrival_s`` on the engine's monotonic clock.

    ``cached_tokens`` of the prompt are computed already: an earlier turn left them in memory.
    """

    request_id: str
    arrival_s: float
    prompt_tokens: int
    max_tokens: int
    slo: Slo
    lengths: LengthDistribution
    priority: int = 0
    cached_tokens: int = 0


class Tracker:
    """Live requests as columns of one growing pool; a snapshot costs two gathers at most.

    Events: :meth:`arrived`, :meth:`scheduled`, :meth:`tokens`, :meth:`preempted`, :meth:`blocked`,
    :meth:`unblocked`, :meth:`finished` (also for aborts). Each is O(1) per request named, except
    the table of the waiting, which is rebuilt lazily when one of them has changed.

    A live request waits, is blocked (it cannot be admitted) or runs. Snapshots hold no blocked
    request, and no waiting one while :attr:`closed` is set.
    """

    def __init__(self, *, limits: Limits, capacity: int = 512) -> None:
        self._limits = limits
        self._pool = RequestPool(capacity)
        self._free: deque[int] = deque(range(capacity))
        self._handles: dict[str, int] = {}
        self._ids: list[str | None] = [None] * capacity
        self._waiting = WaitingLine(capacity)
        self._running: dict[int, None] = {}
        self._blocked: dict[int, Blocked] = {}
        # Those of the blocked that never could be admitted: no policy knows that they arrived.
        self._unannounced: set[int] = set()
        self._closed: Blocked | None = None
        # Requests of which the engine and this picture ever said different things.
        self.disagreements = 0
        # Of all the waiting, until one of them changes.
        self._waiting_table: RequestTable | None = None
        # The waiting in arrival order, and that order by priority, until the former changes.
        self._prioritized: tuple[Ints, Ints] | None = None
        self._version = 0
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._handles)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._handles

    @property
    def limits(self) -> Limits:
        """What the engine can hold for the requests that take part."""
        return self._limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        if limits != self._limits:
            self._limits = limits
            self._changed()

    @property
    def closed(self) -> Blocked | None:
        """Why nobody at all can be admitted now."""
        return self._closed

    @closed.setter
    def closed(self, reason: Blocked | None) -> None:
        if reason is not self._closed:
            self._closed = reason
            self._changed()

    @property
    def version(self) -> int:
        """Rises with each change of who takes part: arrival, finish, preemption, admissibility."""
        return self._version

    @property
    def arrivals(self) -> int:
        """How many requests ever arrived; a blocked one counts from when it can be admitted."""
        return self._arrivals

    @property
    def waiting(self) -> int:
        """How many requests wait for a slot, blocked ones left out."""
        return len(self._waiting)

    @property
    def blocked_requests(self) -> int:
        """How many requests wait and cannot be admitted, for a reason of their own."""
        return len(self._blocked)

    @property
    def live(self) -> KeysView[str]:
        """The ids of all requests that have not ended."""
        return self._handles.keys()

    @property
    def running(self) -> int:
        """How many requests hold a slot."""
        return len(self._running)

    def handle(self, request_id: str) -> int:
        """Return the handle of a live request."""
        try:
            return self._handles[request_id]
        except KeyError:
            raise _not_live(request_id) from None

    def request_id(self, handle: int) -> str:
        """Return the id of the live request that has this handle."""
        request_id = self.find(handle)
        if request_id is None:
            raise SnapshotError(f"handle {handle} names no live request")
        return request_id

    def find(self, handle: int) -> str | None:
        """:meth:`request_id`, or ``None`` where the request has ended."""
        return self._ids[handle] if 0 <= handle < len(self._ids) else None

    def request_ids(self, handles: Ints) -> list[str]:
        """Return the ids of live requests, in the order of ``handles``; 30 ns each."""
        ids = self._ids
        found = [ids[handle] for handle in handles.tolist()]
        if None in found:
            raise SnapshotError(f"handle {handles[found.index(None)]} names no live request")
        return cast("list[str]", found)

    def live_ids(self, handles: Ints) -> list[str]:
        """Return :meth:`request_ids` without those that have ended; never raises."""
        found = [self.find(handle) for handle in handles.tolist()]
        return [request_id for request_id in found if request_id is not None]

    def runs(self, request_id: str) -> bool:
        """Whether a live request holds a slot."""
        return self._handles.get(request_id) in self._running

    def reason(self, request_id: str) -> Blocked | None:
        """Return why this very request is blocked, if it is."""
        return self._blocked.get(self.handle(request_id))

    def blocked_by_reason(self) -> dict[Blocked, int]:
        """Return how many requests cannot be admitted, by reason."""
        counts = Counter(self._blocked.copy().values())
        if self._closed is not None:
            counts[self._closed] += len(self._waiting)
        return {reason: counts[reason] for reason in Blocked}

    def admissible(self, request_id: str) -> bool:
        """Whether a request waits and could be given a slot."""
        return self._closed is None and self._handles.get(request_id, -1) in self._waiting

    def generated(self, request_id: str) -> int:
        """Return how many tokens of a live request came out so far."""
        return int(self._pool.columns[Column.GENERATED, self.handle(request_id)])

    def arrived(self, arrival: Arrival, *, blocked: Blocked | None = None) -> int:
        """Add a request that waits, or is blocked, and return its handle."""
        if arrival.request_id in self._handles:
            raise SnapshotError(f"request {arrival.request_id!r} arrived twice; ids must be unique")
        if not self._free:
            self._grow()
        handle = self._free.popleft()
        self._pool.put(handle, _column(handle, arrival), arrival.lengths)
        self._handles[arrival.request_id] = handle
        self._ids[handle] = arrival.request_id
        if blocked is not None:
            self._blocked[handle] = blocked
            self._unannounced.add(handle)
            return handle
        self._waiting.add(handle)
        self._arrivals += 1
        self._changed()
        return handle

    def blocked(self, request_id: str, reason: Blocked) -> None:
        """Take a waiting request out of the snapshots until it is :meth:`unblocked`."""
        handle = self.handle(request_id)
        if handle in self._running:
            raise SnapshotError(f"request {request_id!r} runs: it cannot be blocked")
        self._blocked[handle] = reason
        if handle in self._waiting:
            self._waiting.discard(handle)
            self._changed()

    def unblocked(self, request_id: str) -> None:
        """Let a blocked request wait as any other; it is as old as it was."""
        handle = self.handle(request_id)
        if self._blocked.pop(handle, None) is not None:
            self._waiting.add(handle)
            self._announce(handle)
            self._changed()

    def arrived_together(
        self, request_ids: Sequence[str], values: Floats, edges: Floats, cdf: Floats
    ) -> Ints:
        """Add waiting requests at once and return their handles, int64[n].

        ``values``, float64[len(Column), n], is a table as in :class:`RequestTable`, its handles
        filled in here; ``edges`` and ``cdf``, float64[n, LENGTH_BINS + 1], are rows as
        :func:`predictor.distribution.stack` makes them. Cost: about 1 us each.
        """
        known = self._handles.keys()
        if len(set(request_ids)) < len(request_ids) or not known.isdisjoint(request_ids):
            raise SnapshotError("a request arrived twice; ids must be unique")
        while len(self._free) < len(request_ids):
            self._grow()
        handles = [self._free.popleft() for _ in request_ids]
        at = np.array(handles, dtype=np.int64)
        self._pool.fill(at, values, edges, cdf)
        self._handles.update(zip(request_ids, handles, strict=True))
        for handle, request_id in zip(handles, request_ids, strict=True):
            self._ids[handle] = request_id
        self._waiting.update(handles)
        self._arrivals += len(handles)
        self._changed()
        return at

    def scheduled(self, tokens: Mapping[str, int]) -> None:
        """Note how many tokens of each request the coming step computes; admits the others."""
        handles = self._live(tokens)
        for handle in handles:
            if handle not in self._running:
                self._admit(handle)
        compute(self._pool.columns, _handles(handles), _handles(tokens.values()))

    def tokens(self, counts: Mapping[str, int], at_s: float) -> None:
        """Note how many output tokens of each request came out at ``at_s``."""
        handles = self._live(counts)
        # An asynchronous engine may preempt a request whose token is under way: the token
        # counts, and has to be computed again with the others.
        for handle, count in zip(handles, counts.values(), strict=True):
            if handle not in self._running:
                self._pool.columns[Column.PREFILL_LEFT, handle] += count
                self._waiting_table = None
        put_out(self._pool.columns, _handles(handles), _handles(counts.values()), at_s)

    def progressed(
        self,
        handles: Ints,
        *,
        prefill_left: Ints,
        generated: Ints,
        first_token_s: Floats,
        at_s: float,
    ) -> None:
        """Note at once how far several running requests have come; arrays of their length.

        The latest token of those that have more than before came out at ``at_s``.
        """
        columns = self._pool.columns
        new = handles[generated > columns[Column.GENERATED, handles]]
        columns[Column.LAST_TOKEN_S, new] = at_s
        columns[Column.PREFILL_LEFT, handles] = prefill_left
        columns[Column.GENERATED, handles] = generated
        columns[Column.FIRST_TOKEN_S, handles] = np.where(generated > 0, first_token_s, np.nan)

    def set_prefill_left(self, request_id: str, tokens: int) -> None:
        """Note how many tokens must be computed before the next one of a request comes out."""
        handle = self.handle(request_id)
        if self._pool.columns[Column.PREFILL_LEFT, handle] != tokens:
            self._pool.columns[Column.PREFILL_LEFT, handle] = tokens
            if handle in self._waiting:
                self._waiting_table = None

    def preempted(self, request_id: str) -> None:
        """Move a running request back to the waiting; all its tokens must be computed again."""
        handle = self.handle(request_id)
        if handle not in self._running:
            raise SnapshotError(f"request {request_id!r} does not run: it cannot be preempted")
        del self._running[handle]
        self._waiting.add(handle)
        pool = self._pool.columns
        pool[Column.PREFILL_LEFT, handle] = (
            pool[Column.PROMPT_TOKENS, handle] + pool[Column.GENERATED, handle]
        )
        pool[Column.PREEMPTIONS, handle] += 1
        self._changed()

    def finished(self, request_id: str) -> None:
        """Forget a request that ended, whether it completed or was aborted."""
        handle = self.handle(request_id)
        took_part = self._blocked.pop(handle, None) is None
        self._unannounced.discard(handle)
        self._waiting.discard(handle)
        self._running.pop(handle, None)
        del self._handles[request_id]
        self._ids[handle] = None
        self._free.append(handle)
        if took_part:
            self._changed()

    def snapshot(
        self,
        *,
        now_s: float,
        latency: StepLatency,
        kv_tokens_free: int | None = None,
        waiting: Ints | None = None,
    ) -> Snapshot:
        """Return the engine as it is now. Cost: 10 us, 20 us after one of 150 waiting changed.

        ``waiting`` are the handles of those that are to be seen of the waiting, in that order;
        ``None``: all of them.
        """
        seen = self._waiting_requests() if waiting is None else self._pool.table(waiting)
        return Snapshot(
            now_s=now_s,
            version=self._version,
            waiting=seen,
            left_out=0 if self._closed else len(self._waiting) - len(seen),
            blocked=len(self._blocked) + (len(self._waiting) if self._closed else 0),
            closed=self._closed,
            running=self._pool.table(_handles(self._running)),
            lengths=self._pool.lengths,
            limits=self._limits,
            kv_tokens_free=self._limits.kv_tokens if kv_tokens_free is None else kv_tokens_free,
            latency=latency,
        )

    def waiting_handles(self) -> Ints:
        """Handles of those who wait and can be admitted, in arrival order."""
        if self._closed is not None:
            return np.empty(0, dtype=np.int64)
        return self._waiting.order(self._pool.columns[Column.ARRIVAL_S])

    def waiting_by_priority(self) -> Ints:
        """:meth:`waiting_handles` by priority, the lowest number first, then by arrival.

        Cost: nothing while the waiting are the same, else about 10 ns for each that waits.
        """
        waiting = self.waiting_handles()
        if self._prioritized is None or self._prioritized[0] is not waiting:
            order = np.asarray(by_priority(waiting, self._pool.columns[Column.PRIORITY]))
            self._prioritized = (waiting, order)
        return self._prioritized[1]

    @property
    def columns(self) -> Floats:
        """float64[len(Column), capacity], by handle: what :class:`RequestTable` shows; live."""
        return self._pool.columns

    @property
    def atoms(self) -> Floats:
        """float64[capacity, ATOMS], by handle: those of :class:`LengthTable`."""
        return self._pool.atoms

    @property
    def waits(self) -> NDArray[np.int8]:
        """int8[capacity], by handle: not zero for those who wait; live."""
        return self._waiting.mark

    @property
    def latest_waiting(self) -> Iterable[int]:
        """Handles that joined the waiting last, arrivals and the preempted alike."""
        return self._waiting.latest

    def _waiting_requests(self) -> RequestTable:
        if self._waiting_table is None:
            self._waiting_table = self._pool.table(self.waiting_handles())
        return self._waiting_table

    def _admit(self, handle: int) -> None:
        """Give a slot to a request that waits; if it was blocked, the engine knew better."""
        self._waiting.discard(handle)
        self._running[handle] = None
        self._waiting_table = None
        if self._blocked.pop(handle, None) is not None:
            self._announce(handle)
            self._changed()

    def _announce(self, handle: int) -> None:
        """Count an arrival when it takes part for the first time."""
        if handle in self._unannounced:
            self._unannounced.remove(handle)
            self._arrivals += 1

    def _live(self, request_ids: Iterable[str]) -> list[int]:
        """Handles of live requests; 30 ns each."""
        handles = self._handles
        try:
            return [handles[request_id] for request_id in request_ids]
        except KeyError as error:
            raise _not_live(error.args[0]) from None

    def _changed(self) -> None:
        self._version += 1
        self._waiting_table = None

    def _grow(self) -> None:
        old = len(self._ids)
        self._pool.grow()
        self._ids.extend([None] * old)
        self._waiting.grow(2 * old)
        self._free.extend(range(old, 2 * old))


def _not_live(request_id: str) -> SnapshotError:
    return SnapshotError(f"request {request_id!r} is not live: it never arrived, or it ended")


def _handles(handles: Iterable[int]) -> Ints:
    return np.fromiter(handles, dtype=np.int64)


def _column(handle: int, arrival: Arrival) -> list[float]:
    """One pool column, in the order of :class:`Column`."""
    slo = arrival.slo
    return [
        handle,
        arrival.arrival_s,
        arrival.prompt_tokens,
        arrival.prompt_tokens - arrival.cached_tokens,
        0,
        np.nan,
        np.inf if slo.ttft_s is None else slo.ttft_s,
        np.inf if slo.tpot_s is None else slo.tpot_s,
        np.inf if slo.e2e_s is None else slo.e2e_s,
        arrival.priority,
        0,
        arrival.max_tokens,
        np.nan,
    ]
