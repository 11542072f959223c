"""The batch constructor: which prompts to compute whole so that a risky one makes it; compiled."""

import numpy as np
from numba import njit

from scheduler.latency import StepLatency
from scheduler.sliding.allocation import largest_budget, step_seconds
from scheduler.sliding.batch import Batch
from scheduler.sliding.config import SlidingConfig
from scheduler.snapshot import Ints


def chosen_prompts(
    batch: Batch,
    order: Ints,
    latency: StepLatency,
    *,
    bound_s: float,
    most: int,
    slots: int,
    kv_tokens: float,
    config: SlidingConfig,
) -> Ints:
    """Places of the candidates to compute whole in this step, in ``order``; none: no need.

    Risky is who would be late after a step of ``most`` prompt tokens, and can still make it. For
    each of them (the anchor, always in) the capacity is what is computed by then; those with at
    least its slack fill it by 0/1 knapsack, value 1 / (s / sum s + r / sum r), tokens rounded up
    to ``quanta``. The best of all anchors counts: most prompts, value, tokens. Nothing is chosen
    that would take longer than ``bound_s``, needs more than ``slots`` new slots, or more than
    ``kv_tokens`` of new memory. Cost: anchors x candidates x quanta, 60 us where all are at their
    limits, 2 us where nobody is risky.
    """
    chosen: Ints = _chosen(
        latency.table,
        float(len(batch.decode_context)),
        float(batch.decode_context.sum()),
        order[: config.most_candidates],
        batch.left,
        batch.cached,
        batch.slack_s,
        batch.running,
        float(bound_s),
        int(most),
        int(slots),
        float(kv_tokens),
        config.quanta,
        config.most_anchors,
        config.slack_cap_s,
    )
    return chosen


@njit(cache=True)
def _chosen(  # type: ignore[no-untyped-def]
    table, decodes, context, order, left, cached, slack_s, running, bound_s, most, slots,
    kv_tokens, quanta, most_anchors, cap_s,
):  # fmt: skip
    nobody = np.empty(0, np.int64)
    whole_s = step_seconds(table, decodes, context, order, left, cached, 0.0, float(most))
    slack_sum = left_sum = 0.0
    anchors = 0
    for i in order:
        slack_sum += max(min(slack_s[i], cap_s), 0.0)
        left_sum += left[i]
        anchors += 0.0 <= slack_s[i] < whole_s
    if anchors == 0:
        return nobody
    best, best_count, best_value, best_tokens = nobody, 0, 0.0, 0.0
    tried = 0
    for a in order:
        if not 0.0 <= slack_s[a] < whole_s or tried == most_anchors:
            continue
        tried += 1
        alone = np.full(1, a)
        limit_s = min(slack_s[a], bound_s)
        fits = step_seconds(table, decodes, context, alone, left, cached, 0.0, left[a]) <= limit_s
        new = a >= running
        if left[a] > most or not fits or (new and (slots < 1 or left[a] > kv_tokens)):
            continue
        first = np.concatenate((alone, order[order != a]))
        capacity = largest_budget(table, decodes, context, first, left, cached, 0.0, limit_s, most)
        room = max(capacity - left[a], 0.0)
        others = _others(order, a, left, slack_s, room)
        picked = _knapsack(others, left, slack_s, room, quanta, slack_sum, left_sum, cap_s)
        picked = _kept(
            table, decodes, context, a, picked, left, cached, running, limit_s, slots,
            kv_tokens,
        )  # fmt: skip
        value = tokens = 0.0
        for i in picked:
            value += _value(left[i], slack_s[i], slack_sum, left_sum, cap_s)
            tokens += left[i]
        count = len(picked)
        better = count > best_count or (count == best_count and value > best_value)
        if better or (count == best_count and value == best_value and tokens > best_tokens):
            best, best_count, best_value, best_tokens = picked, count, value, tokens
    is_chosen = np.zeros(len(left), np.bool_)
    is_chosen[best] = True
    return order[is_chosen[order]]


@njit(cache=True)
def _value(left, slack_s, slack_sum, left_sum, cap_s):  # type: ignore[no-untyped-def]
    share = max(min(slack_s, cap_s), 0.0) / max(slack_sum, 1e-9) + left / max(left_sum, 1e-9)
    return 1.0 / max(share, 1e-9)


@njit(cache=True)
def _others(order, anchor, left, slack_s, room):  # type: ignore[no-untyped-def]
    kept = np.empty(len(order), np.int64)
    n = 0
    for i in order:
        if i != anchor and slack_s[i] >= slack_s[anchor] and left[i] <= room:
            kept[n] = i
            n += 1
    return kept[:n]


@njit(cache=True)
def _knapsack(items, left, slack_s, room, quanta, slack_sum, left_sum, cap_s):  # type: ignore[no-untyped-def]
    """0/1 knapsack in units of ``room / quanta`` tokens, weights rounded up."""
    if len(items) == 0 or room <= 0.0:
        return items[:0]
    unit = room / quanta
    width = quanta + 1
    value = np.zeros(width)
    taken = np.zeros((len(items), width), np.bool_)
    for k in range(len(items)):
        i = items[k]
        weight = int(np.ceil(left[i] / unit - 1e-9))
        worth = _value(left[i], slack_s[i], slack_sum, left_sum, cap_s)
        for w in range(quanta, weight - 1, -1):
            if value[w - weight] + worth > value[w]:
                value[w] = value[w - weight] + worth
                taken[k, w] = True
    picked = np.empty(len(items), np.int64)
    n, w = 0, quanta
    for k in range(len(items) - 1, -1, -1):
        if taken[k, w]:
            picked[n] = items[k]
            n += 1
            w -= int(np.ceil(left[items[k]] / unit - 1e-9))
    return picked[:n][::-1].copy()


@njit(cache=True)
def _kept(  # type: ignore[no-untyped-def]
    table, decodes, context, anchor, picked, left, cached, running, limit_s, slots,
    kv_tokens,
):  # fmt: skip
    """The anchor, and of the others the shortest as long as slots, memory and time last."""
    kept = np.empty(len(picked) + 1, np.int64)
    kept[0] = anchor
    n, tokens = 1, left[anchor]
    if anchor >= running:
        slots -= 1
        kv_tokens -= left[anchor]
    for i in picked[np.argsort(left[picked], kind="mergesort")]:
        if i >= running and (slots < 1 or left[i] > kv_tokens):
            continue
        kept[n] = i
        seconds = step_seconds(
            table, decodes, context, kept[: n + 1], left, cached, 0.0, tokens + left[i]
        )
        if seconds > limit_s:
            continue
        n += 1
        tokens += left[i]
        if i >= running:
            slots -= 1
            kv_tokens -= left[i]
    return kept[:n].copy()
