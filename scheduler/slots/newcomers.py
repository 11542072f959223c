"""Who is expected to come while a step runs, and how long they can wait for its end."""

from typing import NamedTuple

import numpy as np

from scheduler.compiled import compiled
from scheduler.snapshot import Floats

# Fewer arrivals, or a shorter time, say nothing about the rate.
_FEW, _LEAST_SPAN_S = 8, 2.0


class Newcomers(NamedTuple):
    """Requests to come: ``per_s`` of them, with slack like that of the latest.

    ``slack_s`` is float64[n], ascending: from their arrival until they have to be computed
    (``inf``: they can wait); ``slack_sums``, float64[n + 1], of the finite ones before each.
    ``tokens`` and ``token_sums`` are the same of their prompts.
    """

    per_s: float
    slack_s: Floats
    slack_sums: Floats
    tokens: Floats
    token_sums: Floats


def nobody() -> Newcomers:
    """Nobody will come."""
    return Newcomers(0.0, np.empty(0), np.zeros(1), np.empty(0), np.zeros(1))


class Arrivals:
    """Remembers the latest arrivals and expects more of the same."""

    def __init__(self, *, window: int = 256) -> None:
        # One row each, when, its slack, its prompt; the oldest is overwritten.
        self._seen = np.empty((window, 3))
        self._count = 0

    def observe(self, arrival_s: Floats, slack_s: Floats, tokens: Floats) -> None:
        """Remember arrivals, float64[n] each, oldest first."""
        new = np.column_stack((arrival_s, slack_s, tokens))[-len(self._seen) :]
        self._seen[(self._count + np.arange(len(new))) % len(self._seen)] = new
        self._count += len(new)

    def expected(self, *, now_s: float) -> Newcomers:
        """Expect more of what came of late. Cost: 20 us."""
        seen = self._seen[: self._count]
        if len(seen) < _FEW:
            return nobody()
        span_s = max(now_s - seen[:, 0].min(), _LEAST_SPAN_S)
        slack_s, slack_sums = _sorted(np.maximum(seen[:, 1], 0.0))
        tokens, token_sums = _sorted(seen[:, 2])
        return Newcomers(len(seen) / span_s, slack_s, slack_sums, tokens, token_sums)


def _sorted(values: Floats) -> tuple[Floats, Floats]:
    ordered = np.sort(values)
    finite = np.where(np.isinf(ordered), 0.0, ordered)
    return ordered, np.concatenate(([0.0], np.cumsum(finite)))


@compiled
def left_over(left: float, newcomers: Newcomers, tokens_per_s: float, share: float) -> float:
    """Tokens per second for those at hand, when newcomers with less than ``left`` had theirs.

    The fraction ``share`` of these is served first; the others come too late for that.
    """
    count = len(newcomers.tokens)
    if count == 0:
        return tokens_per_s
    smaller = float(newcomers.token_sums[np.searchsorted(newcomers.tokens, left)]) / count
    return tokens_per_s - share * min(newcomers.per_s * smaller, tokens_per_s)
