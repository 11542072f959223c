"""Who wants the coming step: the answers that decode, and the prompts that could be computed."""

from typing import NamedTuple

import numpy as np

from scheduler.compiled import compiled
from scheduler.lengths import expected_remaining
from scheduler.phase import is_prefilling
from scheduler.policies.ordered import full_batch_token_s
from scheduler.sliding.config import SlidingConfig
from scheduler.snapshot import Column, Floats, Ints, Snapshot

_HANDLE, _ARRIVAL_S, _PRIORITY = (
    int(c) for c in (Column.HANDLE, Column.ARRIVAL_S, Column.PRIORITY)
)
_PROMPT_TOKENS, _PREFILL_LEFT = int(Column.PROMPT_TOKENS), int(Column.PREFILL_LEFT)
_GENERATED, _FIRST_S = int(Column.GENERATED), int(Column.FIRST_TOKEN_S)
_TTFT_S, _TPOT_S, _E2E_S = int(Column.TTFT_S), int(Column.TPOT_S), int(Column.E2E_S)


class Batch(NamedTuple):
    """One moment. Decodes, [d]: ``handle``, ``context``, ``slack_s`` until the next token is due,
    ``tbt_s`` from that one to the next.

    Candidates, [n], the running ones first and each kind in the engine's order: ``handle``,
    ``left`` tokens to compute, ``cached`` ones, ``slack_s`` until the first token (of a preempted
    stream: the next) is due (< 0: missed; inf: no promise), ``guarded`` 1 for streams
    that were preempted and for the privileged. ``running`` counts those that hold a slot.
    """

    decode_handle: Ints
    decode_context: Floats
    decode_slack_s: Floats
    decode_tbt_s: Floats
    handle: Ints
    left: Floats
    cached: Floats
    slack_s: Floats
    guarded: Ints
    running: int


def batch_of(snapshot: Snapshot, config: SlidingConfig) -> Batch:
    """Read a snapshot. Cost: 10 us, more where end-to-end promises ask for forecasts."""
    running, waiting = snapshot.running, snapshot.waiting
    token_s = full_batch_token_s(snapshot)
    remaining = []
    for table in (running, waiting):
        some = bool(np.isfinite(table.e2e_s).any())
        remaining.append(
            expected_remaining(table, snapshot.lengths) if some else np.ones(len(table))
        )
    return Batch(
        *_read(
            running.values,
            waiting.values,
            (remaining[0], remaining[1]),
            snapshot.now_s,
            token_s,
            config.from_first_token,
            config.privileged_below,
        )
    )


@compiled
def _read(
    running: Floats,
    waiting: Floats,
    remaining: tuple[Floats, Floats],
    now_s: float,
    token_s: float,
    from_first: bool,
    privileged_below: float,
) -> tuple[Ints, Floats, Floats, Floats, Ints, Floats, Floats, Floats, Ints, int]:
    more, rest = remaining
    size, n = running.shape[1], waiting.shape[1]
    decode_handle, handle = np.empty(size, np.int64), np.empty(size + n, np.int64)
    context, decode_slack, tbt = np.empty(size), np.empty(size), np.empty(size)
    left, cached, slack = np.empty(size + n), np.empty(size + n), np.empty(size + n)
    guarded = np.zeros(size + n, np.int64)
    d = c = 0
    for i in range(size):
        request = running[:, i]
        known = request[_PROMPT_TOKENS] + request[_GENERATED]
        if not is_prefilling(request):
            decode_handle[d], context[d] = int(request[_HANDLE]), known
            decode_slack[d] = _due_s(request, more[i], token_s, from_first) - now_s
            tbt[d] = _between_s(request, token_s)
            d += 1
            continue
        handle[c], left[c] = int(request[_HANDLE]), request[_PREFILL_LEFT]
        cached[c] = max(known - request[_PREFILL_LEFT], 0.0)
        slack[c] = _due_s(request, more[i], token_s, from_first) - now_s
        guarded[c] = request[_GENERATED] > 0.0 or request[_PRIORITY] < privileged_below
        c += 1
    holding = c
    for i in range(n):
        request = waiting[:, i]
        handle[c], left[c], cached[c] = int(request[_HANDLE]), max(request[_PREFILL_LEFT], 1.0), 0.0
        slack[c] = _due_s(request, rest[i], token_s, from_first) - now_s
        guarded[c] = request[_GENERATED] > 0.0 or request[_PRIORITY] < privileged_below
        c += 1
    return (
        decode_handle[:d],
        context[:d],
        decode_slack[:d],
        tbt[:d],
        handle[:c],
        left[:c],
        cached[:c],
        slack[:c],
        guarded[:c],
        holding,
    )


@compiled
def _due_s(request: Floats, remaining: float, token_s: float, from_first: bool) -> float:
    """When the next token is due; ``inf``: never.

    Of an end-to-end promise the tokens still expected stand before the deadline, ``token_s``
    apart. A first token is due by TTFT; the next ones by TPOT, from the first on or from when it
    was due.
    """
    due_s = request[_ARRIVAL_S] + request[_E2E_S] - token_s * (remaining - 1.0)
    if request[_GENERATED] == 0.0:
        return float(min(due_s, request[_ARRIVAL_S] + request[_TTFT_S]))
    start_s = request[_ARRIVAL_S] + request[_TTFT_S]
    if from_first or start_s == np.inf:
        start_s = request[_FIRST_S]
    return float(min(due_s, start_s + request[_TPOT_S] * request[_GENERATED]))


@compiled
def _between_s(request: Floats, token_s: float) -> float:
    """Time from one due token to the next."""
    return min(float(request[_TPOT_S]), token_s if request[_E2E_S] < np.inf else np.inf)
