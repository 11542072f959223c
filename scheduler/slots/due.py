"""In which order prompts are computed so that the fewest are late; compiled."""

import numpy as np

from scheduler.compiled import compiled
from scheduler.slots.newcomers import Newcomers, left_over
from scheduler.slots.prompts import Prompts
from scheduler.snapshot import Ints


def by_due(
    order: Ints,
    prompts: Prompts,
    newcomers: Newcomers,
    *,
    stays: int = 0,
    tokens_per_s: float,
    share: float,
) -> tuple[Ints, int]:
    """``order`` with those who can be in time first, and where they end.

    They stand by deadline; as often as somebody would be late, whoever has most work of those
    before it is given up (Moore 1968: with one capacity for all the fewest are late so). Of
    requests to come with fewer tokens than somebody has left, the fraction ``share`` is served
    before it and takes its tokens from the ``tokens_per_s``. The others, who have no deadline
    (``slack_s`` inf) or missed it, follow: first those that have begun, the one with the least
    work foremost, then as they stood. The first ``stays`` of ``order`` stay in front of all.
    Cost: 2 us, and a pass for each given up.
    """
    return _by_due(order, prompts, newcomers, stays, tokens_per_s, share)


@compiled
def _by_due(
    order: Ints,
    prompts: Prompts,
    newcomers: Newcomers,
    stays: int,
    tokens_per_s: float,
    share: float,
) -> tuple[Ints, int]:
    work, slack_s, begun = prompts.work, prompts.slack_s, prompts.begun
    n = len(order)
    found = np.empty(n, np.int64)
    found[:stays] = order[:stays]
    count = stays
    total = 0.0
    others = order[stays:]
    for i in others[np.argsort(slack_s[others], kind="mergesort")]:
        if slack_s[i] < 0.0 or slack_s[i] == np.inf:
            continue
        found[count] = i
        count += 1
        total += work[i]
        room = slack_s[i] * left_over(prompts.left[i], newcomers, tokens_per_s, share)
        while total > room and found[count - 1] == i:
            most = stays
            for k in range(stays, count):
                if work[found[k]] > work[found[most]]:
                    most = k
            total -= work[found[most]]
            found[most : count - 1] = found[most + 1 : count]
            count -= 1
    kept = count
    is_kept = np.zeros(len(work), np.bool_)
    is_kept[found[:kept]] = True
    for i in order[np.argsort(work[order], kind="mergesort")]:
        if i < begun and not is_kept[i]:
            found[count] = i
            count += 1
    for i in order:
        if i >= begun and not is_kept[i]:
            found[count] = i
            count += 1
    return found, kept
