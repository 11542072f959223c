"""The orders from which the search starts: simple rules, each right in some situation."""

import numpy as np

from scheduler.compiled import compiled
from scheduler.slots.problem import Fact, SlotProblem
from scheduler.snapshot import Floats, Ints

_FAR_S = 1e9
_START_S, _TTFT_DUE_S, _E2E_DUE_S = int(Fact.START_S), int(Fact.TTFT_DUE_S), int(Fact.E2E_DUE_S)
_SEEDS = 8

# Of each order so many rounds of the slots are worth a look: behind them nobody has a turn
# before the plan is made again.
_ROUNDS = 3


def seed_orders(
    problem: SlotProblem,
    *,
    chance: Floats,
    cost_s: Floats,
    index: Floats,
    price: float,
    previous: Ints,
) -> Ints:
    """Index orders, int64[8, n], into the problem.

    By index, with preemption and without; the promising ones by deadline, by slack and shortest
    first; everybody shortest first and by arrival; and the previous plan (``previous``: handles)
    with newcomers where their index puts them. Of a long queue only the front is sorted, as far
    as :func:`shortlist` looks. Cost: about 60 us with 150 waiting, compiled.
    """
    return _orders(
        (problem.handle, previous),
        problem.running,
        (problem.facts, problem.atoms, problem.waited_s),
        (chance, cost_s, index),
        problem.token_s,
        price,
        problem.running + _ROUNDS * problem.slots,
    )


def shortlist(seeds: Ints, running: int, slots: int) -> Ints:
    """Sorted indices, int64[m], of the running and of whoever stands near a front of ``seeds``."""
    return _shortlist(seeds, running, _ROUNDS * slots)


def restricted(seeds: Ints, chosen: Ints) -> Ints:
    """The orders of the ``chosen`` alone, int64[k, m], as indices into ``chosen``."""
    return _restricted(seeds, chosen)


@compiled
def _orders(
    handles: tuple[Ints, Ints],
    running: int,
    candidates: tuple[Floats, Floats, Floats],
    worth: tuple[Floats, Floats, Floats],
    token_s: float,
    price: float,
    depth: int,
) -> Ints:
    handle, previous = handles
    facts, atoms, waited_s = candidates
    chance, cost_s, index = worth
    n = handle.shape[0]
    seeds = np.empty((_SEEDS, n), dtype=np.int64)
    by_index = _front_sorted(-index, depth)
    seeds[0] = by_index
    seeds[1:7, :running] = np.arange(running)
    waiting = by_index[by_index >= running]
    due_s, slack_s, short_s = np.empty((3, len(waiting)))
    for k, i in enumerate(waiting):
        promising = chance[i] > 0.0 and chance[i] >= price * cost_s[i]
        service_s = facts[i, _START_S] + atoms[i].mean() * token_s
        due_s[k] = slack_s[k] = short_s[k] = _FAR_S
        if promising:
            due_s[k] = min(facts[i, _TTFT_DUE_S], facts[i, _E2E_DUE_S])
            slack_s[k] = min(facts[i, _TTFT_DUE_S], facts[i, _E2E_DUE_S] - service_s)
            short_s[k] = service_s
    seeds[1, running:] = waiting
    seeds[2, running:] = waiting[_front_sorted(due_s, depth)]
    seeds[3, running:] = waiting[_front_sorted(slack_s, depth)]
    seeds[4, running:] = waiting[_front_sorted(short_s, depth)]
    seeds[5, running:] = running + _front_sorted(cost_s[running:], depth)
    seeds[6, running:] = running + _front_sorted(-waited_s[running:], depth)
    seeds[7] = by_index[_front_sorted(_ranks(handle, by_index, previous), depth)]
    return seeds


@compiled
def _front_sorted(key: Floats | Ints, depth: int) -> Ints:
    """Positions in ascending order of ``key``, ties in place; from ``depth`` on in any order."""
    n = len(key)
    if n <= 2 * depth:
        return np.argsort(key, kind="mergesort")
    cut = np.partition(key, depth)[depth]
    order = np.empty(n, dtype=np.int64)
    front = np.flatnonzero(key < cut)
    order[: len(front)] = front[np.argsort(key[front], kind="mergesort")]
    at = len(front)
    for last in (False, True):
        for k in range(n):
            if (key[k] > cut) == last and key[k] >= cut:
                order[at] = k
                at += 1
    return order


@compiled
def _shortlist(seeds: Ints, running: int, depth: int) -> Ints:
    n = seeds.shape[1]
    near = np.zeros(n, dtype=np.bool_)
    near[:running] = True
    for k in range(seeds.shape[0]):
        near[seeds[k, : min(running + depth, n)]] = True
    return np.flatnonzero(near)


@compiled
def _restricted(seeds: Ints, chosen: Ints) -> Ints:
    place = np.full(seeds.shape[1], -1, dtype=np.int64)
    place[chosen] = np.arange(len(chosen))
    orders = np.empty((seeds.shape[0], len(chosen)), dtype=np.int64)
    for k in range(seeds.shape[0]):
        at = 0
        for i in seeds[k]:
            if place[i] >= 0:
                orders[k, at] = place[i]
                at += 1
    return orders


@compiled
def _ranks(handle: Ints, by_index: Ints, previous: Ints) -> Ints:
    """Of each candidate in ``by_index``: its place in the previous plan, else where it is now."""
    top = handle.max() if len(handle) else 0
    if len(previous):
        top = max(top, previous.max())
    place = np.full(top + 1, -1, dtype=np.int64)
    for rank, name in enumerate(previous):
        place[name] = rank
    ranks = np.empty(len(by_index), dtype=np.int64)
    for rank, i in enumerate(by_index):
        known = place[handle[i]]
        ranks[rank] = known if known >= 0 else rank
    return ranks
