"""The multi-level priority sorter: in which order prompts are computed; compiled."""

import numpy as np

from scheduler.compiled import compiled
from scheduler.sliding.batch import Batch
from scheduler.sliding.config import SlidingConfig
from scheduler.snapshot import Floats, Ints


def by_levels(batch: Batch, tokens_per_s: float, config: SlidingConfig) -> Ints:
    """Candidates' places by (missed, not guarded, not urgent, tokens left), then as they stand.

    Urgent: computing what is left, at the recent throughput, takes more than the share ``alpha``
    of the slack. Who has missed already stands behind everybody. Cost: 5 us with 150.
    """
    return _by_levels(
        batch.left, batch.slack_s, batch.guarded, tokens_per_s, config.alpha, config.least_slack_s
    )


def by_deadline(batch: Batch) -> Ints:
    """Candidates' places by the time their token is due, then as they stand."""
    return _by(batch.slack_s)


@compiled
def _by(key: Floats) -> Ints:
    return np.argsort(key, kind="mergesort")


@compiled
def _by_levels(
    left: Floats,
    slack_s: Floats,
    guarded: Ints,
    tokens_per_s: float,
    alpha: float,
    least_slack_s: float,
) -> Ints:
    order = np.argsort(left, kind="mergesort")
    level = np.empty(len(left))
    for i in range(len(left)):
        missed = slack_s[i] < 0.0
        urgent = left[i] / (tokens_per_s * max(slack_s[i], least_slack_s)) > alpha
        level[i] = 4 * missed + 2 * (1 - guarded[i]) + (0 if urgent and not missed else 1)
    return order[np.argsort(level[order], kind="mergesort")]
