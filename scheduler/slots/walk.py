"""What an order of candidates is worth: a walk through the slots, compiled."""

from numba import njit


@njit(cache=True, inline="always")
def next_turn(free, at, chain):  # type: ignore[no-untyped-def]
    """When the next slot comes free, and when the next turn is: prefills wait for each other."""
    while free[at] == 0:
        at += 1
    return at, max(at, int(chain))


@njit(cache=True, inline="always")
def take_slot(free, at, turn, prefill, hold, chain):  # type: ignore[no-untyped-def]
    """Hold the slot free at ``at``; returns when the engine has done the prefill."""
    free[at] -= 1
    begin = float(turn)
    if prefill > 0.0:
        begin = chain = max(begin, chain) + prefill
    free[min(int(begin + hold + 0.5), free.shape[0] - 1)] += 1
    return chain


@njit(cache=True)
def walk(order, table, terms, free, turns):  # type: ignore[no-untyped-def]
    """Value of an order, in kept promises, and how many of it were looked at.

    Continuous batching in a few lines: each candidate in turn takes the slot that comes free
    first and holds it until it is done or its promise is lost for good. A candidate is worth
    its chance to keep the promise, plus ``done_worth``, less the price of the slot-seconds it
    takes from requests to come, all of which fades with the time until it begins; whose turn
    comes after the window is not looked at. Prefills are computed one after the other, whichever
    slots they are for; a running candidate that loses its slot has to be prefilled again.

    ``free``, int64[ticks], is room to count the slots that come free at each tick; ``turns``,
    int64[n], receives the tick of each turn. Cost: about 8 ns for each candidate looked at (a
    few times ``slots``, however many wait).
    """
    free[:] = 0
    free[0] = terms.slots
    at = 0
    chain = value = 0.0
    unseen = terms.running
    for position in range(order.shape[0]):
        i = order[position]
        if position < terms.slots and i < terms.running:
            turns[position] = 0
            value += table.stay_worth[i]
            chain = take_slot(free, 0, 0, table.stay_prefill[i], table.stay_hold[i], chain)
        else:
            at, turn = next_turn(free, at, chain)
            if turn >= free.shape[0] - 1:
                return value - unseen * terms.preempt_cost, position
            turns[position] = turn
            cell = table.cell_of[turn]
            value += table.worth[i, cell]
            chain = take_slot(free, at, turn, table.prefill[i], table.hold[i, cell], chain)
        if i < terms.running:
            unseen -= 1
    return value - unseen * terms.preempt_cost, order.shape[0]
