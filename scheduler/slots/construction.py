"""What one step computes: the plan's order, and the size that loses the fewest promises."""

from dataclasses import replace

import numpy as np

from scheduler.compiled import compiled
from scheduler.decision import StepDecision
from scheduler.sliding.turns import engine_order, sitting_out
from scheduler.slots.answers import Answers
from scheduler.slots.config import SlotConfig
from scheduler.slots.due import by_due
from scheduler.slots.newcomers import Newcomers
from scheduler.slots.prompts import Prompts, prompts_of
from scheduler.slots.size import prompt_tokens
from scheduler.snapshot import Ints, Snapshot

# KV memory that an answer may begin anew in a step.
_BLOCK_TOKENS = 16


def rank_of(order: Ints) -> Ints:
    """int64[largest handle + 1]: the place of each in ``order``; the others stand behind."""
    rank = np.full(order.max(initial=-1) + 1, len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank


def constructed(
    snapshot: Snapshot,
    decision: StepDecision,
    rank: Ints,
    *,
    silent: int,
    overdue: int,
    later: Ints,
    answers: Answers,
    newcomers: Newcomers,
    due: bool,
    config: SlotConfig,
) -> StepDecision:
    """Size the step and say whose prompts it computes.

    Prompts that can be in time stand by deadline, as many as possible
    (:func:`scheduler.slots.due.by_due`); without ``due`` all stand as in ``rank``. The first
    ``silent`` there come before them, and one of the next ``overdue``; ``later`` are waiting
    requests that must not begin in this step. The step is so large that the fewest promises are
    lost, of those prompts, of the answers and of requests to come
    (:func:`scheduler.slots.size.prompt_tokens`). A prompt that has begun sits out where one that
    can still begin comes before it. Cost: 60 us with 16 running, and 0.1 us for each who waits
    while a slot is free.
    """
    free = snapshot.limits.max_num_seqs - len(snapshot.running) + len(decision.preempt)
    prompts = prompts_of(
        snapshot,
        waiting=free > 0,
        token_s=answers.token_s,
        pace_s=answers.pace_s,
        silence_s=config.silence_s,
    )
    gone = np.concatenate((decision.preempt, decision.held, later))
    order, first, back = _in_rank(prompts.handle, prompts.begun, rank, gone, free, silent, overdue)
    limit = max(snapshot.limits.max_batched_tokens - int(answers.decodes), 1)
    last = len(order)
    if due:
        tokens_per_s, share = _tokens_per_s(snapshot, answers, limit, config), config.newcomer_share
        order, last = by_due(
            order, prompts, newcomers, stays=first, tokens_per_s=tokens_per_s, share=share
        )
    # A stream that is silent for too long counts as an SLO that is violated.
    kept = np.concatenate((order[:back], order[first:last]))
    tokens = prompt_tokens(
        order,
        kept,
        prompts.left,
        prompts.cached,
        prompts.slack_s,
        latency=snapshot.latency,
        answers=answers,
        newcomers=newcomers,
        steps_ahead=snapshot.limits.steps_ahead,
        most=limit,
        config=config,
    )
    if not len(order):
        # Good until somebody comes, who finds this much room in the next step.
        return replace(decision, token_budget=int(answers.decodes) + tokens)
    out = _out(snapshot, prompts, order, tokens, kept=first - back + len(kept), free=free)
    computed = engine_order(order, prompts.begun, out)
    begun = computed[computed < prompts.begun]
    return replace(
        decision,
        order=_waiting_first(prompts, order, decision.order),
        running=np.concatenate((prompts.answers, prompts.handle[begun])),
        held=np.concatenate((decision.held, prompts.handle[out])) if len(out) else decision.held,
        token_budget=int(answers.decodes) + tokens,
        stands=False,
    )


def _out(
    snapshot: Snapshot,
    prompts: Prompts,
    order: Ints,
    tokens: int,
    *,
    kept: int,
    free: int,
) -> Ints:
    """Who computes nothing, of ``order``: the first ``kept`` are those that can be in time."""
    blocks = (len(prompts.answers) + prompts.begun) * _BLOCK_TOKENS
    out = sitting_out(
        order,
        prompts.left,
        prompts.begun,
        tokens,
        slots=free,
        kv_tokens=float(snapshot.kv_tokens_free - blocks),
        block_tokens=_BLOCK_TOKENS,
    )
    if len(out) or prompts.left[: prompts.begun].sum() > tokens:
        # Prompts are begun one after the other: each holds memory until it is answered.
        late = order[kept:]
        out = np.concatenate((out, late[late >= prompts.begun]))
    return out


def _waiting_first(prompts: Prompts, order: Ints, waiting: Ints) -> Ints:
    """``waiting``, the handles, with those of ``order`` in front; the same array if they are."""
    first = prompts.handle[order[order >= prompts.begun]]
    if np.array_equal(first, waiting[: len(first)]):
        return waiting
    return np.concatenate((first, waiting[~np.isin(waiting, first)]))


def _tokens_per_s(snapshot: Snapshot, answers: Answers, limit: int, config: SlotConfig) -> float:
    """How fast prompts can be computed while the running requests keep their SLOs.

    In tokens of work (:func:`scheduler.slots.prompts.work_of`). Attention within the chunk counts
    here and there: a margin of 6 % with chunks of 1,000 tokens on an H100. Without it fewer SLOs
    are attained in deep overload.
    """
    decodes, context = answers.decodes, answers.context_tokens
    tokens = snapshot.latency.largest_prefill(
        answers.bound_s / config.chunk_margin,
        decodes=decodes,
        context_tokens=context,
        at_most=limit,
    )
    tokens = max(tokens, min(config.least_chunk, limit))
    step_s = snapshot.latency.step_s(1.0, float(tokens), decodes, context)
    return tokens / max(step_s * config.chunk_margin, 1e-9)


@compiled
def _in_rank(
    handle: Ints, begun: int, rank: Ints, gone: Ints, free: int, silent: int, overdue: int
) -> tuple[Ints, int, int]:
    """Places of who could be computed: all that have begun, and as many others as find a slot.

    And how many of them come before all others: the ``silent`` of the plan, and one of the next
    ``overdue``; and how many of those are silent.
    """
    n, last = len(handle), len(rank)
    top = last
    for each in handle:
        top = max(top, each + 1)
    out = np.zeros(top, np.bool_)
    for each in gone:
        if each < top:
            out[each] = True
    key = np.empty(n, np.int64)
    for i in range(n):
        key[i] = rank[handle[i]] if handle[i] < last else last
    found = np.empty(n, np.int64)
    count = 0
    for i in np.argsort(key, kind="mergesort"):
        if out[handle[i]] or (i >= begun and free < 1):
            continue
        free -= i >= begun
        found[count] = i
        count += 1
    back = 0
    while back < count and key[found[back]] < silent:
        back += 1
    aged = back < count and key[found[back]] < silent + overdue
    return found[:count], back + aged, back
