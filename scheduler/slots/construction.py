"""What one step computes: the plan's order cut to the time that everybody can spare."""

from dataclasses import replace

import numpy as np
from numba import njit

from scheduler.decision import StepDecision
from scheduler.sliding.allocation import largest_budget
from scheduler.sliding.batch import Batch, batch_of
from scheduler.sliding.config import SlidingConfig
from scheduler.sliding.turns import engine_order, sitting_out
from scheduler.slots.answers import Answers
from scheduler.slots.config import SlotConfig
from scheduler.slots.due import by_due
from scheduler.slots.newcomers import Newcomers
from scheduler.slots.size import prompt_tokens
from scheduler.snapshot import Ints, Snapshot

# However small a part of a step newcomers fill, they go first where the plan says so.
_SLIDING = SlidingConfig(yield_share=0.0)


def rank_of(order: Ints, top: int) -> Ints:
    """int64[top + 1]: the place of each handle in ``order``; who is not in it stands behind."""
    rank = np.full(top + 1, len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank


def constructed(
    snapshot: Snapshot,
    decision: StepDecision,
    rank: Ints,
    *,
    overdue: int,
    answers: Answers,
    newcomers: Newcomers,
    due: bool,
    config: SlotConfig,
) -> StepDecision:
    """Size the step and say whose prompts it computes, in the order of ``rank``.

    Prompts that can be in time stand by deadline, as many as possible
    (:func:`scheduler.slots.due.by_due`), the first in front of them if it is among so many that
    are ``overdue``. The step is so large that the fewest promises are lost, of those prompts, of
    the answers and of requests to come (:func:`scheduler.slots.size.prompt_tokens`). A prompt
    that has begun sits out where others that can begin come first. Cost: 60 us with 16 running.
    """
    batch = batch_of(snapshot, _SLIDING)
    free = snapshot.limits.max_num_seqs - len(snapshot.running) + len(decision.preempt)
    order = _in_rank(batch.handle, batch.running, rank, decision.preempt, decision.held, free)
    limit = max(snapshot.limits.max_batched_tokens - int(answers.count), 1)
    tokens_per_s = _tokens_per_s(snapshot, batch, order, answers, limit, config)
    kept = len(order)
    if due and kept:
        first = batch.handle[order[0]]
        stays = first < len(rank) and rank[first] < overdue
        order, kept = by_due(
            order,
            batch.left,
            batch.slack_s,
            newcomers,
            stays=int(stays),
            running=batch.running,
            tokens_per_s=tokens_per_s,
        )
    tokens = prompt_tokens(
        order[:kept],
        batch.left,
        batch.cached,
        batch.slack_s,
        latency=snapshot.latency,
        answers=answers,
        newcomers=newcomers,
        steps_ahead=snapshot.limits.steps_ahead,
        most=limit,
        config=config,
    )
    if not len(order):
        # Good until somebody comes, who finds this much room in the next step.
        return replace(decision, token_budget=int(answers.count) + tokens)
    out = sitting_out(
        batch,
        order,
        tokens,
        slots=free,
        kv_tokens=float(snapshot.kv_tokens_free),
        config=_SLIDING,
    )
    if len(out) or batch.left[order[order < batch.running]].sum() > tokens:
        # Prompts are begun one after the other: each holds memory until it is answered.
        late = order[kept:]
        out = np.concatenate((out, late[late >= batch.running]))
    first = engine_order(batch, order, out)
    running = np.concatenate((batch.decode_handle, batch.handle[first[first < batch.running]]))
    return replace(
        decision,
        order=_waiting_first(batch, order, decision.order),
        running=running,
        held=np.concatenate((decision.held, batch.handle[out])) if len(out) else decision.held,
        token_budget=int(answers.count) + tokens,
        stands=False,
    )


def _waiting_first(batch: Batch, order: Ints, waiting: Ints) -> Ints:
    """``waiting``, the handles, with those of ``order`` in front; the same array if they are."""
    first = batch.handle[order[order >= batch.running]]
    if np.array_equal(first, waiting[: len(first)]):
        return waiting
    return np.concatenate((first, waiting[~np.isin(waiting, first)]))


def _tokens_per_s(
    snapshot: Snapshot, batch: Batch, order: Ints, answers: Answers, limit: int, config: SlotConfig
) -> float:
    """How fast prompts can be computed while the answers keep their promises."""
    tokens = limit
    if len(answers.slack_s):
        bound_s = float(answers.slack_s.min()) / config.chunk_margin
        fits = _largest(
            snapshot.latency.table,
            answers.count,
            answers.context_tokens,
            order,
            batch.left,
            batch.cached,
            bound_s,
            limit,
        )
        tokens = max(int(fits), min(config.least_chunk, limit))
    step_s = snapshot.latency.step_s(1.0, float(tokens), answers.count, answers.context_tokens)
    return tokens / max(step_s * config.chunk_margin, 1e-9)


@njit(cache=True)
def _largest(table, decodes, context, order, left, cached, bound_s, limit):  # type: ignore[no-untyped-def]
    return largest_budget(table, decodes, context, order, left, cached, 0.0, bound_s, limit)


@njit(cache=True)
def _in_rank(handle, running, rank, preempt, held, free):  # type: ignore[no-untyped-def]
    """Places of who could be computed: all that have begun, and so many of the others."""
    n = len(handle)
    key = np.empty(n, np.int64)
    last = len(rank)
    for i in range(n):
        key[i] = rank[handle[i]] if handle[i] < last else last
    out = np.zeros(n, np.bool_)
    for gone in (preempt, held):
        for each in gone:
            for i in range(n):
                out[i] = out[i] or handle[i] == each
    found = np.empty(n, np.int64)
    count = 0
    for i in np.argsort(key, kind="mergesort"):
        if out[i] or (i >= running and free < 1):
            continue
        free -= i >= running
        found[count] = i
        count += 1
    return found[:count]
