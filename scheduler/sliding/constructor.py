"""The batch constructor: which prompts to compute whole so that a risky one makes it; compiled."""

from typing import NamedTuple

import numpy as np

from scheduler.compiled import compiled
from scheduler.latency import StepLatency
from scheduler.sliding.allocation import StepLoad, largest_budget, step_seconds
from scheduler.sliding.batch import Batch
from scheduler.sliding.config import SlidingConfig
from scheduler.snapshot import Floats, Ints


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
    return _chosen(
        latency.table,
        batch,
        order[: config.most_candidates],
        (float(bound_s), int(slots), float(kv_tokens)),
        int(most),
        (config.quanta, config.most_anchors, config.slack_cap_s),
    )


class _Room(NamedTuple):
    """What the prefills of a step may take: seconds, slots, and KV tokens."""

    bound_s: float
    slots: int
    kv_tokens: float


class _Scale(NamedTuple):
    """Sums over all candidates; a slack counts ``cap_s`` at most."""

    slack_s: float
    left: float
    cap_s: float


@compiled
def _chosen(
    table: Floats,
    batch: Batch,
    order: Ints,
    engine_room: tuple[float, int, float],
    most: int,
    limits: tuple[int, int, float],
) -> Ints:
    bound_s, slots, kv_tokens = engine_room
    quanta, most_anchors, cap_s = limits
    context, left, slack_s, running = batch.decode_context, batch.left, batch.slack_s, batch.running
    load = StepLoad(table, float(len(context)), context.sum(), left, batch.cached)
    nobody = np.empty(0, np.int64)
    whole_s = step_seconds(load, order, 0.0, float(most))
    slack_sum = left_sum = 0.0
    anchors = 0
    for i in order:
        slack_sum += max(min(slack_s[i], cap_s), 0.0)
        left_sum += left[i]
        anchors += 0.0 <= slack_s[i] < whole_s
    if anchors == 0:
        return nobody
    scale = _Scale(slack_sum, left_sum, cap_s)
    best, best_count, best_value, best_tokens = nobody, 0, 0.0, 0.0
    tried = 0
    for a in order:
        if not 0.0 <= slack_s[a] < whole_s or tried == most_anchors:
            continue
        tried += 1
        alone = np.full(1, a)
        limit_s = min(slack_s[a], bound_s)
        fits = step_seconds(load, alone, 0.0, left[a]) <= limit_s
        new = a >= running
        if left[a] > most or not fits or (new and (slots < 1 or left[a] > kv_tokens)):
            continue
        first = np.concatenate((alone, order[order != a]))
        capacity = largest_budget(load, first, 0.0, limit_s, most)
        room = max(capacity - left[a], 0.0)
        others = _others(order, a, left, slack_s, room)
        picked = _knapsack(others, left, slack_s, room, quanta, scale)
        picked = _kept(load, a, picked, running, _Room(limit_s, slots, kv_tokens))
        value = tokens = 0.0
        for i in picked:
            value += _value(left[i], slack_s[i], scale)
            tokens += left[i]
        count = len(picked)
        better = count > best_count or (count == best_count and value > best_value)
        if better or (count == best_count and value == best_value and tokens > best_tokens):
            best, best_count, best_value, best_tokens = picked, count, value, tokens
    is_chosen = np.zeros(len(left), np.bool_)
    is_chosen[best] = True
    return order[is_chosen[order]]


@compiled
def _value(left: float, slack_s: float, scale: _Scale) -> float:
    slack_share = max(min(slack_s, scale.cap_s), 0.0) / max(scale.slack_s, 1e-9)
    share = slack_share + left / max(scale.left, 1e-9)
    return 1.0 / max(share, 1e-9)


@compiled
def _others(order: Ints, anchor: int, left: Floats, slack_s: Floats, room: float) -> Ints:
    kept = np.empty(len(order), np.int64)
    n = 0
    for i in order:
        if i != anchor and slack_s[i] >= slack_s[anchor] and left[i] <= room:
            kept[n] = i
            n += 1
    return kept[:n]


@compiled
def _knapsack(
    items: Ints, left: Floats, slack_s: Floats, room: float, quanta: int, scale: _Scale
) -> Ints:
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
        worth = _value(left[i], slack_s[i], scale)
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


@compiled
def _kept(load: StepLoad, anchor: int, picked: Ints, running: int, room: _Room) -> Ints:
    """The anchor, and of the others the shortest as long as slots, memory and time last."""
    left, slots, kv_tokens = load.left, room.slots, room.kv_tokens
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
        if step_seconds(load, kept[: n + 1], 0.0, tokens + left[i]) > room.bound_s:
            continue
        n += 1
        tokens += left[i]
        if i >= running:
            slots -= 1
            kv_tokens -= left[i]
    return kept[:n].copy()
