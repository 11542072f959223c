"""All engines as a router knows them: their last digests, and what it sent them since."""

from collections import deque
from collections.abc import Hashable, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from scheduler.placement.choice import (
    Candidate,
    Engines,
    Sent,
    gains,
    prefill_seconds,
    ranked,
    token_seconds,
)
from scheduler.placement.config import PlacementConfig
from scheduler.placement.digest import SIZE, Digest, Item
from scheduler.snapshot import Floats, Ints

Engine = TypeVar("Engine", bound=Hashable)


class _Placed(NamedTuple):
    at_s: float
    prefill_s: float
    hold_s: float
    kv_tokens: float


class Fleet(Generic[Engine]):
    """Digests by engine, on one clock of the caller's in seconds.

    Engines come with their first digest (or request) and go by :meth:`remove`. What was placed
    since a digest counts on top of it: its prefill delays the next, its slot and memory are taken.
    """

    def __init__(self, config: PlacementConfig | None = None) -> None:
        self._config = config or PlacementConfig()
        self._row: dict[Engine, int] = {}
        self._digests = np.zeros((0, SIZE))
        self._made_s: Floats = np.zeros(0)
        self._sent = np.zeros((0, len(Sent)))
        self._placed: list[deque[_Placed]] = []

    def __len__(self) -> int:
        return len(self._row)

    def update(self, engine: Engine, digest: Digest, *, made_s: float) -> None:
        """Take in what an engine said, true at ``made_s``; one older than the last is dropped."""
        row = self._known(engine)
        if made_s < self._made_s[row]:
            return
        self._made_s[row] = made_s
        self._digests[row] = digest.values
        placed = self._placed[row]
        while placed and placed[0].at_s < made_s - self._config.transit_s:
            placed.popleft()
        self._sum_up(row)

    def remove(self, engine: Engine) -> None:
        """Forget an engine that is gone."""
        row = self._row.pop(engine, None)
        if row is None:
            return
        last = len(self._row)
        if row != last:
            moved = next(name for name, at in self._row.items() if at == last)
            self._row[moved] = row
            for column in (self._digests, self._made_s, self._sent):
                column[row] = column[last]
            self._placed[row] = self._placed[last]
        self._placed.pop()

    def fresh(self, engine: Engine, *, now_s: float) -> bool:
        """Whether its digest may be believed."""
        row = self._row.get(engine)
        return row is not None and bool(now_s - self._made_s[row] <= self._config.stale_s)

    def heard(self, engine: Engine) -> bool:
        """Whether it ever said how it is."""
        row = self._row.get(engine)
        return row is not None and bool(self._made_s[row] > -np.inf)

    def ranks(
        self,
        engines: Sequence[Engine],
        candidate: Candidate,
        *,
        now_s: float,
        cached: Floats | None = None,
    ) -> list[Engine]:
        """Of these engines those with a fresh digest, best first.

        ``cached``: prompt tokens that each is likely to have in its prefix cache, float64, in the
        order of ``engines``.
        """
        known = [(k, self._row[name]) for k, name in enumerate(engines) if name in self._row]
        if not known:
            return []
        asked, rows = np.array(known).T
        age_s = now_s - self._made_s[rows]
        good = age_s <= self._config.stale_s
        asked, rows, age_s = asked[good], rows[good], np.maximum(age_s[good], 0.0)
        if not len(rows):
            return []
        gain, wait_s = np.empty((2, len(rows)))
        known_engines = Engines(
            self._digests[rows],
            age_s,
            self._outstanding(rows, now_s),
            np.zeros(len(rows)) if cached is None else cached[asked],
        )
        config = self._config
        gains(known_engines, candidate, config.done_worth, config.crowding, gain, wait_s)
        return [engines[asked[k]] for k in ranked(gain, wait_s, self._config).tolist()]

    def placed(self, engine: Engine, candidate: Candidate, *, now_s: float) -> None:
        """Count a request that was sent to this engine.

        Cost: linear in those that are in no digest yet.

        What is older than a digest may be says nothing either: without digests it is forgotten.
        """
        row = self._known(engine)
        placed = self._placed[row]
        while placed and placed[0].at_s < now_s - self._config.stale_s:
            placed.popleft()
        digest, sent = self._digests[row], self._sent[row]
        tokens = candidate.mean_tokens
        context = candidate.prompt_tokens + tokens / 2.0
        token_s = token_seconds(digest, sent[Sent.COUNT] + 1.0, context)
        placed.append(
            _Placed(
                at_s=now_s,
                prefill_s=prefill_seconds(digest, candidate.prompt_tokens),
                hold_s=tokens * token_s,
                kv_tokens=candidate.prompt_tokens + tokens,
            )
        )
        self._sum_up(row)

    def load(self, engine: Engine) -> float:
        """Requests on this engine as far as is known."""
        row = self._row.get(engine)
        if row is None:
            return 0.0
        return float(self._digests[row, Item.LIVE] + self._sent[row, Sent.COUNT])

    def _known(self, engine: Engine) -> int:
        row = self._row.get(engine)
        if row is None:
            row = self._row[engine] = len(self._row)
            self._placed.append(deque())
            if row >= len(self._digests):
                self._grow()
            self._digests[row], self._sent[row], self._made_s[row] = 0.0, 0.0, -np.inf
        return row

    def _grow(self) -> None:
        more = max(len(self._digests), 8)
        self._digests = np.vstack([self._digests, np.zeros((more, SIZE))])
        self._sent = np.vstack([self._sent, np.zeros((more, len(Sent)))])
        self._made_s = np.append(self._made_s, np.full(more, -np.inf))

    def _sum_up(self, row: int) -> None:
        placed = self._placed[row]
        backlog_s, at_s = 0.0, self._made_s[row]
        for each in placed:
            backlog_s = max(backlog_s - max(each.at_s - at_s, 0.0), 0.0) + each.prefill_s
            at_s = max(at_s, each.at_s)
        # As of the last of them; what was computed since is taken off when it is asked for.
        self._sent[row] = (
            len(placed),
            backlog_s,
            sum(each.hold_s for each in placed),
            sum(each.kv_tokens for each in placed),
        )

    def _outstanding(self, rows: Ints, now_s: float) -> Floats:
        sent = self._sent[rows]
        for k, row in enumerate(rows.tolist()):
            placed = self._placed[row]
            if placed:
                done_s = now_s - placed[-1].at_s
                sent[k, Sent.PREFILL_S] = max(sent[k, Sent.PREFILL_S] - done_s, 0.0)
        return sent
