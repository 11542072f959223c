"""Moves from one cut order to a neighbour: compiled, in place, O(batch size) or O(n).

Each takes ``order`` int64[n] and ``starts`` bool[n] of a state and positions in it, and returns
the start of the first batch it changed, or -1 where it does not apply and changed nothing.
Positions inside a batch mean nothing, so a request enters or leaves a batch at its edge.
"""

from scheduler.annealing.draws import Words, below
from scheduler.compiled import compiled
from scheduler.snapshot import Bools, Ints


@compiled
def random_move(order: Ints, starts: Bools, limit: int, extended: bool, rng: Words) -> int:
    """Draw one of the paper's three moves, or with ``extended`` of all six, and its positions."""
    n = order.shape[0]
    kind = below(rng, 6 if extended else 3)
    at = below(rng, n)
    if kind == 0:
        return squeeze(order, starts, at, limit)
    if kind == 1:
        return delay(order, starts, at, limit)
    if kind == 2:
        return swap(order, starts, at, below(rng, n))
    if kind == 3:
        return jump(order, starts, at, below(rng, n), limit, below(rng, 2) == 0)
    if kind == 4:
        return split(starts, at)
    return merge(starts, at, limit)


@compiled
def start_of(starts: Bools, at: int) -> int:
    """First position of the batch that holds position ``at``."""
    while not starts[at]:
        at -= 1
    return at


@compiled
def end_of(starts: Bools, at: int) -> int:
    """Position after the last one of the batch that holds position ``at``."""
    at += 1
    while at < starts.shape[0] and not starts[at]:
        at += 1
    return at


@compiled
def squeeze(order: Ints, starts: Bools, at: int, limit: int) -> int:
    """Move the request at ``at`` into the previous batch, if that has room."""
    start = start_of(starts, at)
    if start == 0:
        return -1
    previous = start_of(starts, start - 1)
    if start - previous >= limit:
        return -1
    order[at], order[start] = order[start], order[at]
    starts[start] = False
    if start + 1 < starts.shape[0]:
        starts[start + 1] = True
    return previous


@compiled
def delay(order: Ints, starts: Bools, at: int, limit: int) -> int:
    """Move the request at ``at`` into the next batch, if that has room, or into a new last one."""
    start, end = start_of(starts, at), end_of(starts, at)
    if end < starts.shape[0]:
        if end_of(starts, end) - end >= limit:
            return -1
        starts[end] = False
    elif end - start == 1:
        return -1
    order[at], order[end - 1] = order[end - 1], order[at]
    starts[end - 1] = True
    return start


@compiled
def swap(order: Ints, starts: Bools, one: int, other: int) -> int:
    """Exchange two requests of different batches."""
    first = start_of(starts, min(one, other))
    if first == start_of(starts, max(one, other)):
        return -1
    order[one], order[other] = order[other], order[one]
    return first


@compiled
def jump(order: Ints, starts: Bools, at: int, to: int, limit: int, alone: bool) -> int:
    """Move the request at ``at`` into the batch of ``to``, or ``alone`` to its far side."""
    first, start, end = start_of(starts, at), start_of(starts, to), end_of(starts, to)
    if first == start or (not alone and end - start >= limit):
        return -1
    if starts[at] and at + 1 < starts.shape[0]:
        starts[at + 1] = True
    request = order[at]
    if at < to:
        for position in range(at, end - 1):
            order[position] = order[position + 1]
            starts[position] = starts[position + 1]
        order[end - 1] = request
        starts[end - 1] = alone
        return first
    to = start if alone else start + 1
    for position in range(at, to, -1):
        order[position] = order[position - 1]
        starts[position] = starts[position - 1]
    order[to] = request
    starts[to] = alone
    return start


@compiled
def split(starts: Bools, at: int) -> int:
    """Cut a batch in two before position ``at``."""
    if starts[at]:
        return -1
    starts[at] = True
    return start_of(starts, at - 1)


@compiled
def merge(starts: Bools, at: int, limit: int) -> int:
    """Join the batch that holds position ``at`` to the previous one, if both fit into one."""
    start = start_of(starts, at)
    if start == 0:
        return -1
    previous = start_of(starts, start - 1)
    if end_of(starts, at) - previous > limit:
        return -1
    starts[start] = False
    return previous
