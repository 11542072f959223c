"""What an order of candidates is worth: a walk through the slots, compiled."""

import numpy as np

from scheduler.compiled import compiled, inlined
from scheduler.slots.chance import Terms
from scheduler.slots.timetable import Timetable
from scheduler.snapshot import Floats, Ints


@compiled
def all_free(free: Floats, terms: Terms) -> None:
    """Fill ``free``, float64[2, ticks]: the slots and KV tokens that come free at each tick."""
    free[0] = 0.0
    free[0, 0] = terms.slots
    if terms.kv_tokens < np.inf:
        free[1] = 0.0
        free[1, 0] = terms.kv_tokens


@inlined
def next_turn(free: Floats, at: int, memory: float, terms: Terms, chain: float) -> tuple[int, int]:
    """When a slot and so much memory come free, and when the turn is: prefills wait in line.

    What is free at a tick and not enough is free at the next one as well.
    """
    last = free.shape[1] - 1
    if terms.kv_tokens < np.inf:
        while at < last and (free[0, at] < 1.0 or free[1, at] < memory):
            free[0, at + 1] += free[0, at]
            free[1, at + 1] += free[1, at]
            at += 1
    else:
        while free[0, at] < 1.0:
            at += 1
    return at, max(at, int(chain))


@inlined
def keeps_slot(free: Floats, at: int, memory: float, terms: Terms) -> bool:
    """Whether who runs now and comes next has not waited for anybody: its slot is still its own."""
    return at == 0 and free[0, 0] >= 1.0 and (terms.kv_tokens == np.inf or free[1, 0] >= memory)


@inlined
def take_slot(
    free: Floats, at: int, turn: int, stay: tuple[float, float, float], terms: Terms, chain: float
) -> float:
    """Hold slot and memory free at ``at``; returns when the engine has done the prefill.

    ``stay``: the ticks of the prefill and of the decodes, and the KV tokens that are held.
    """
    prefill, hold, memory = stay
    free[0, at] -= 1.0
    begin = float(turn)
    if prefill > 0.0:
        begin = chain = max(begin, chain) + prefill
    end = min(int(begin + hold + 0.5), free.shape[1] - 1)
    free[0, end] += 1.0
    if terms.kv_tokens < np.inf:
        free[1, at] -= memory
        free[1, end] += memory
    return chain


@compiled
def walk(
    order: Ints, table: Timetable, terms: Terms, free: Floats, turns: Ints
) -> tuple[float, int]:
    """Value of an order, in kept promises, and how many of it were looked at.

    Continuous batching in a few lines: each candidate in turn takes the slot that comes free
    first, once the KV tokens it needs are free as well, and holds both until it is done or its
    promise is lost for good. A candidate is worth
    its chance to keep the promise, plus ``done_worth``, less the price of the slot-seconds it
    takes from requests to come, all of which fades with the time until it begins; whose turn
    comes after the window is not looked at. Prefills are computed one after the other, whichever
    slots they are for; a running candidate that loses its slot has to be prefilled again.

    ``free``, float64[2, ticks], is room to count the slots and the memory that come free at each
    tick; ``turns``, int64[n], receives the tick of each turn. Cost: about 8 ns for each candidate
    looked at (a few times ``slots``, however many wait).
    """
    all_free(free, terms)
    at = 0
    chain = value = 0.0
    unseen = terms.running
    last = free.shape[1] - 1
    for position in range(order.shape[0]):
        i = order[position]
        memory = table.memory[i]
        if i < terms.running and position < terms.slots and keeps_slot(free, at, memory, terms):
            turns[position] = 0
            value += table.stay_worth[i]
            stay = (table.stay_prefill[i], table.stay_hold[i], memory)
            chain = take_slot(free, 0, 0, stay, terms, chain)
        else:
            at, turn = next_turn(free, at, memory, terms, chain)
            if turn >= last:
                return value - unseen * terms.preempt_cost, position
            turns[position] = turn
            cell = table.cell_of[turn]
            value += table.worth[i, cell]
            stay = (table.prefill[i], table.hold[i, cell], memory)
            chain = take_slot(free, at, turn, stay, terms, chain)
        if i < terms.running:
            unseen -= 1
    return value - unseen * terms.preempt_cost, order.shape[0]
