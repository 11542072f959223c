"""Which running prompts sit out a step so that more pressing ones can begin; compiled."""

import numpy as np

from scheduler.compiled import compiled
from scheduler.snapshot import Floats, Ints


def sitting_out(
    order: Ints,
    left: Floats,
    running: int,
    tokens: int,
    *,
    slots: int,
    kv_tokens: float,
    block_tokens: int,
) -> Ints:
    """Places of the running prompts that compute nothing in this step, of ``tokens`` for prompts.

    The first ``running`` places have begun; each has ``left``, float64[n], tokens to compute. An
    engine computes those that have begun before it admits others. Who would not be
    finished with what those before it in ``order`` leave, and has somebody before it who can be
    admitted, sits out; at least one prompt never does. What the others leave of the step is lost:
    no prompt can be given a part of it. Cost: 1 us.
    """
    return _sitting_out(order, left, running, float(tokens), slots, kv_tokens, block_tokens)


def engine_order(order: Ints, running: int, out: Ints) -> Ints:
    """Places in the order in which an engine allots: running prompts, then the waiting.

    Without those of them that are ``out``.
    """
    return _engine_order(order, running, out)


@compiled
def _sitting_out(
    order: Ints,
    left: Floats,
    running: int,
    tokens: float,
    slots: int,
    kv_tokens: float,
    block_tokens: int,
) -> Ints:
    out = np.empty(running, np.int64)
    n = admitted = 0
    blocked = False
    for i in order:
        if i < running:
            got = min(left[i], tokens)
            if admitted and got < left[i]:
                out[n] = i
                n += 1
            else:
                tokens -= got
        elif tokens > 0.0 and not blocked:
            need = left[i] + block_tokens
            blocked = slots < 1 or need > kv_tokens
            if not blocked:
                tokens -= min(left[i], tokens)
                slots -= 1
                kv_tokens -= need
                admitted += 1
    return out[:n]


@compiled
def _engine_order(order: Ints, running: int, out: Ints) -> Ints:
    sits = np.zeros(order.max() + 1, np.bool_)
    sits[out] = True
    found = np.empty(len(order), np.int64)
    n = 0
    for i in order:
        if i < running and not sits[i]:
            found[n] = i
            n += 1
    for i in order:
        if i >= running and not sits[i]:
            found[n] = i
            n += 1
    return found[:n]
