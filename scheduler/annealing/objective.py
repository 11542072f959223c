"""G = n / t of an order cut into batches (section 3), compiled."""

import numpy as np
from numba import njit

from scheduler.annealing.problem import BatchProblem
from scheduler.snapshot import Ints


@njit(cache=True, nogil=True)
def _most_tokens(time_s, constant_s, slope_s):  # type: ignore[no-untyped-def]
    """The most tokens whose decode time, ``c t + s t (t - 1) / 2``, is within ``time_s``."""
    if time_s <= 0.0:
        return 0.0
    if slope_s <= 0.0:
        return time_s / constant_s if constant_s > 0.0 else np.inf
    linear = constant_s - slope_s / 2.0
    return (np.sqrt(linear * linear + 2.0 * slope_s * time_s) - linear) / slope_s


@njit(cache=True, nogil=True)
def _share_within(atoms, i, limit):  # type: ignore[no-untyped-def]
    """Share of the ascending atoms of request i that are at most ``limit``."""
    low, high = 0, atoms.shape[1]
    while low < high:
        middle = (low + high) // 2
        if atoms[i, middle] <= limit:
            low = middle + 1
        else:
            high = middle
    return low / atoms.shape[1]


@njit(cache=True, nogil=True)
def evaluate(  # type: ignore[no-untyped-def]
    order, sizes, batches, prompt_tokens, atoms, moments, waited_s, ttft_s, tpot_s, e2e_s, coef
):
    """G, and the expected number of promises kept, of ``order`` cut into ``sizes[:batches]``.

    A batch prefills together; each of its requests then decodes at the batch's size until it
    is done, and the next batch begins when the longest (in expectation) is. n sums the
    share of each request's atoms that keep its promise, t the expected latencies.
    O(n log Q): about 20 ns per request.
    """
    begin_s = kept = total_s = 0.0
    first = 0
    for k in range(batches):
        b = sizes[k]
        mean = 0.0
        for p in range(first, first + b):
            mean += prompt_tokens[order[p]]
        mean /= b
        prefill_s = (coef[0] * b + coef[2]) * mean + coef[1] * b + coef[3]
        slope_s = coef[4] * b + coef[6]
        longest_s = 0.0
        for p in range(first, first + b):
            i = order[p]
            first_s = waited_s[i] + begin_s + prefill_s
            constant_s = coef[5] * b + coef[7] + slope_s * prompt_tokens[i]
            mean_s = constant_s * moments[i, 0] + slope_s * moments[i, 1]
            if first_s <= ttft_s[i]:
                limit = np.inf
                if e2e_s[i] < np.inf:
                    limit = _most_tokens(e2e_s[i] - first_s, constant_s, slope_s)
                if tpot_s[i] < np.inf:
                    spare_s = tpot_s[i] - constant_s
                    if spare_s < 0.0:
                        limit = 0.0
                    elif slope_s > 0.0:
                        limit = min(limit, 1.0 + 2.0 * spare_s / slope_s)
                kept += _share_within(atoms, i, limit)
            total_s += first_s + mean_s
            longest_s = max(longest_s, mean_s)
        begin_s += prefill_s + longest_s
        first += b
    return kept / total_s, kept


def value(problem: BatchProblem, order: Ints, sizes: Ints) -> float:
    """Return G of one plan; ``sizes`` are its batch sizes and sum to n."""
    g, _ = evaluate(order, sizes, len(sizes), *problem.arrays())
    return float(g)
