"""What an order of candidates is worth: a walk through the slots, compiled."""

import numpy as np
from numba import njit

from scheduler.slots.chance import outlook
from scheduler.slots.problem import Fact

_START_S, _RESTART_S = int(Fact.START_S), int(Fact.RESTART_S)

# Horizons after which a plan's value has faded to nothing (e^-9): the walk ends there.
_FADED = 9.0


@njit(cache=True)
def _push_root(heap, end_s):  # type: ignore[no-untyped-def]
    """Replace the smallest entry of a heap."""
    size = heap.shape[0]
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= end_s:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = end_s


@njit(cache=True)
def walk(order, facts, atoms, terms, free_s):  # type: ignore[no-untyped-def]
    """Value of an order, in kept promises; continuous batching in a few lines.

    Each candidate in turn takes the slot that comes free first (``free_s``, float64[slots], is
    a heap of those times) and holds it until it is done or its promise is lost for good. It is
    worth its chance to keep the promise, plus ``done_worth``, less the price of the
    slot-seconds it takes from requests to come; all of that fades with the time until it
    begins, and who would begin so late that nothing is left is not looked at. Prefills are
    computed one after the other, whichever slots they are for; a running candidate that loses
    its slot has to be prefilled again. Cost: O(m (log slots + ATOMS)), about 30 ns for each of
    the m candidates looked at: a few times ``slots``, however many wait.
    """
    free_s[:] = 0.0
    prefilled_s = 0.0
    value = 0.0
    unseen = terms.running
    faded_s = _FADED * terms.horizon_s
    for position in range(order.shape[0]):
        i = order[position]
        if position >= terms.slots and max(free_s[0], prefilled_s) > faded_s:
            break
        if i < terms.running:
            unseen -= 1
        prefill_s = facts[i, _START_S]
        if i < terms.running and position >= terms.slots:
            prefill_s = facts[i, _RESTART_S]
            value -= terms.preempt_cost
        begin_s = free_s[0]
        if prefill_s > 0.0:
            begin_s = prefilled_s = max(begin_s, prefilled_s) + prefill_s
        chance, tokens = outlook(i, begin_s, facts, atoms, terms.token_s)
        cost_s = terms.slots * prefill_s + tokens * terms.decode_s
        gain = chance + terms.done_worth - terms.price * cost_s
        value += gain * np.exp(-begin_s / terms.horizon_s)
        _push_root(free_s, begin_s + tokens * terms.token_s)
    return value - unseen * terms.preempt_cost
