"""In which order prompts are computed so that the fewest are late; compiled."""

import numpy as np
from numba import njit

from scheduler.snapshot import Floats, Ints


def by_due(order: Ints, left: Floats, slack_s: Floats, *, tokens_per_s: float) -> Ints:
    """``order`` with those who can be in time first, the most pressing of them foremost.

    By deadline; as often as somebody would be late, whoever has most ``left`` of those before it
    is given up (Moore 1968: the fewest are late so). The others follow as they stood, as do those
    without a deadline (``slack_s`` inf). Cost: 1 us, and a pass for each given up.
    """
    found: Ints = _by_due(order, left, slack_s, tokens_per_s)
    return found


@njit(cache=True)
def _by_due(order, left, slack_s, tokens_per_s):  # type: ignore[no-untyped-def]
    n = len(order)
    kept = np.empty(n, np.int64)
    count = 0
    tokens = 0.0
    for i in order[np.argsort(slack_s[order], kind="mergesort")]:
        if slack_s[i] < 0.0 or slack_s[i] == np.inf:
            continue
        kept[count] = i
        count += 1
        tokens += left[i]
        if tokens > slack_s[i] * tokens_per_s:
            most = 0
            for k in range(count):
                if left[kept[k]] > left[kept[most]]:
                    most = k
            tokens -= left[kept[most]]
            kept[most : count - 1] = kept[most + 1 : count]
            count -= 1
    is_kept = np.zeros(len(left), np.bool_)
    is_kept[kept[:count]] = True
    for i in order:
        if not is_kept[i]:
            kept[count] = i
            count += 1
    return kept
