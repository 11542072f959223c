"""The sliding chunker: how many prompt tokens this step computes, seen with the next; compiled."""

import numpy as np

from scheduler.compiled import compiled
from scheduler.latency import StepLatency
from scheduler.sliding.allocation import StepLoad, largest_budget, step_seconds
from scheduler.sliding.batch import Batch
from scheduler.sliding.config import SlidingConfig
from scheduler.snapshot import Floats, Ints


def chunk_bound_s(batch: Batch, latency: StepLatency) -> float:
    """Seconds the step may take: the least slack of the safe decodes, ``inf`` without any."""
    context, slack_s = batch.decode_context, batch.decode_slack_s
    first_s, _ = _window_s(latency.table, context, slack_s, batch.decode_tbt_s)
    return first_s


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
    return _prompt_tokens(
        latency.table, batch, order, most, config.least_tokens, config.strict_window
    )


@compiled
def _window_s(
    table: Floats, context: Floats, slack_s: Floats, tbt_s: Floats
) -> tuple[float, float]:
    """T_cur, and when the second tokens are due; both ``inf`` without safe decodes."""
    alone_s = work_seconds_of(table, len(context), context.sum())
    first_s = second_s = np.inf
    for i in range(len(context)):
        if slack_s[i] >= alone_s:
            first_s = min(first_s, slack_s[i])
            second_s = min(second_s, slack_s[i] + tbt_s[i])
    return first_s, second_s


@compiled
def work_seconds_of(table: Floats, decodes: int, context: float) -> float:
    """Seconds of a step that only decodes."""
    nobody = np.empty(0, np.int64)
    nothing = np.empty(0)
    load = StepLoad(table, float(decodes), context, nothing, nothing)
    return step_seconds(load, nobody, 0.0, 0.0)


@compiled
def _prompt_tokens(
    table: Floats, batch: Batch, order: Ints, most: int, least: int, strict: bool
) -> int:
    context, left, cached = batch.decode_context, batch.left, batch.cached
    first_s, second_s = _window_s(table, context, batch.decode_slack_s, batch.decode_tbt_s)
    if first_s == np.inf or most <= 0:
        return max(most, 0)
    decodes, total = float(len(context)), context.sum()
    load = StepLoad(table, decodes, total, left, cached)
    now = largest_budget(load, order, 0.0, first_s, most)
    if now <= 0:
        return 0
    # The next step: a token more of each answer, prompts as they are now.
    following = StepLoad(table, decodes, total + decodes, left, cached)
    later = max(largest_budget(following, order, 0.0, second_s - first_s, most), 0)
    demand = 0.0
    for i in order:
        demand += left[i]
    both = int(min(now + later, demand))
    now = min(now, both)
    low = max(both - (later if strict else most), 0)
    return _shortest((load, following), order, both, min(low, now), now, least)


@compiled
def _shortest(
    loads: tuple[StepLoad, StepLoad], order: Ints, both: int, low: int, high: int, least: int
) -> int:
    """Ternary search for the part of ``both`` that makes the two steps shortest together."""
    top = high
    best_s = _both_s(loads, order, both, top)
    while high - low > least:
        third = max((high - low) // 3, 1)
        one, two = low + third, high - third
        one_s = _both_s(loads, order, both, one)
        two_s = _both_s(loads, order, both, two)
        if one_s < two_s:
            high = two
        else:
            low = one
    # On a tie the larger part; rounding is no gain.
    found_s = _both_s(loads, order, both, high)
    return high if found_s < best_s * (1.0 - 1e-9) else top


@compiled
def _both_s(loads: tuple[StepLoad, StepLoad], order: Ints, both: int, now: int) -> float:
    first_s = step_seconds(loads[0], order, 0.0, float(now))
    return first_s + step_seconds(loads[1], order, float(now), float(both - now))
