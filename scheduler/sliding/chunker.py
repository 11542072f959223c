"""The sliding chunker: how many prompt tokens this step computes, seen with the next; compiled."""

import numpy as np
from numba import njit

from scheduler.latency import StepLatency
from scheduler.sliding.allocation import largest_budget, step_seconds
from scheduler.sliding.batch import Batch
from scheduler.sliding.config import SlidingConfig
from scheduler.snapshot import Floats, Ints


def chunk_bound_s(batch: Batch, latency: StepLatency) -> float:
    """Seconds the step may take: the least slack of the safe decodes, ``inf`` without any."""
    return float(_window_s(latency.table, *_decodes(batch))[0])


def prompt_tokens(
    batch: Batch, order: Ints, latency: StepLatency, most: int, config: SlidingConfig
) -> int:
    """Tokens for prompts in this step, 0..``most``; computed in ``order``.

    A decode is safe while a step without any prompt would bring its next token in time. B_cur and
    B_next are the most that keep the next token of every safe decode in time, and the one after.
    Of what both can compute, or all there is to compute, this step takes the part that makes the
    two shortest together; on a tie the larger part. Without a safe decode it takes all it can.
    Cost: two bisections and a ternary search over the replayed allotment, 20 us with 64 prompts.
    """
    return int(
        _prompt_tokens(
            latency.table,
            *_decodes(batch),
            order,
            batch.left,
            batch.cached,
            most,
            config.least_tokens,
            config.strict_window,
        )
    )


def _decodes(batch: Batch) -> tuple[Floats, Floats, Floats]:
    return batch.decode_context, batch.decode_slack_s, batch.decode_tbt_s


@njit(cache=True)
def _window_s(table, context, slack_s, tbt_s):  # type: ignore[no-untyped-def]
    """T_cur, and when the second tokens are due; both ``inf`` without safe decodes."""
    alone_s = work_seconds_of(table, len(context), context.sum())
    first_s = second_s = np.inf
    for i in range(len(context)):
        if slack_s[i] >= alone_s:
            first_s = min(first_s, slack_s[i])
            second_s = min(second_s, slack_s[i] + tbt_s[i])
    return first_s, second_s


@njit(cache=True)
def work_seconds_of(table, decodes, context):  # type: ignore[no-untyped-def]
    """Seconds of a step that only decodes."""
    nobody = np.empty(0, np.int64)
    nothing = np.empty(0)
    return step_seconds(table, float(decodes), context, nobody, nothing, nothing, 0.0, 0.0)


@njit(cache=True)
def _prompt_tokens(  # type: ignore[no-untyped-def]
    table, context, slack_s, tbt_s, order, left, cached, most, least, strict
):
    first_s, second_s = _window_s(table, context, slack_s, tbt_s)
    if first_s == np.inf or most <= 0:
        return max(most, 0)
    decodes, total = float(len(context)), context.sum()
    now = largest_budget(table, decodes, total, order, left, cached, 0.0, first_s, most)
    if now <= 0:
        return 0
    # The next step: a token more of each answer, prompts as they are now.
    later = largest_budget(
        table, decodes, total + decodes, order, left, cached, 0.0, second_s - first_s, most
    )
    later = max(later, 0)
    demand = 0.0
    for i in order:
        demand += left[i]
    both = int(min(now + later, demand))
    now = min(now, both)
    low = max(both - (later if strict else most), 0)
    return _shortest(table, decodes, total, order, left, cached, both, min(low, now), now, least)


@njit(cache=True)
def _shortest(table, decodes, context, order, left, cached, both, low, high, least):  # type: ignore[no-untyped-def]
    """Ternary search for the part of ``both`` that makes the two steps shortest together."""
    top = high
    best_s = _both_s(table, decodes, context, order, left, cached, both, top)
    while high - low > least:
        third = max((high - low) // 3, 1)
        one, two = low + third, high - third
        one_s = _both_s(table, decodes, context, order, left, cached, both, one)
        two_s = _both_s(table, decodes, context, order, left, cached, both, two)
        if one_s < two_s:
            high = two
        else:
            low = one
    # On a tie the larger part; rounding is no gain.
    found_s = _both_s(table, decodes, context, order, left, cached, both, high)
    return high if found_s < best_s * (1.0 - 1e-9) else top


@njit(cache=True)
def _both_s(table, decodes, context, order, left, cached, both, now):  # type: ignore[no-untyped-def]
    first_s = step_seconds(table, decodes, context, order, left, cached, 0.0, float(now))
    return first_s + step_seconds(
        table, decodes, context + decodes, order, left, cached, float(now), float(both - now)
    )
