"""Who is expected to come while a step runs, and how long they can wait for its end."""

from typing import NamedTuple

import numpy as np

from scheduler.snapshot import Floats


class Newcomers(NamedTuple):
    """Requests to come: ``per_s`` of them, with slack like that of the latest.

    ``slack_s`` is float64[n], ascending: from their arrival until they have to be computed
    (``inf``: they can wait); ``until_s``, float64[n + 1], sums it up to each.
    """

    per_s: float
    slack_s: Floats
    until_s: Floats


def nobody() -> Newcomers:
    """Nobody will come."""
    return Newcomers(0.0, np.empty(0), np.zeros(1))


class Arrivals:
    """Remembers the latest arrivals and expects more of the same."""

    def __init__(self, *, window: int = 256) -> None:
        # One row each, when and its slack; the oldest is overwritten.
        self._seen = np.empty((window, 2))
        self._count = 0

    def observe(self, arrival_s: Floats, slack_s: Floats) -> None:
        """Remember arrivals, float64[n] each, oldest first."""
        new = np.column_stack((arrival_s, slack_s))[-len(self._seen) :]
        self._seen[(self._count + np.arange(len(new))) % len(self._seen)] = new
        self._count += len(new)

    def expected(self, *, now_s: float) -> Newcomers:
        """Expect more of what came of late. Cost: 20 us."""
        seen = self._seen[: self._count]
        if not len(seen):
            return nobody()
        slack_s = np.sort(np.maximum(seen[:, 1], 0.0))
        finite_s = np.where(np.isinf(slack_s), 0.0, slack_s)
        span_s = max(now_s - seen[:, 0].min(), 1e-3)
        return Newcomers(len(seen) / span_s, slack_s, np.concatenate(([0.0], np.cumsum(finite_s))))
