"""Orders built turn by turn: who would lose most by waiting comes next; compiled."""

import numpy as np
from numba import njit

from scheduler.slots.timetable import middles
from scheduler.slots.walk import next_turn, take_slot, walk

# Each pair wins in other situations: the share of the price of delay that is charged, and how many
# ticks later "later" is. Only shares, because the price counts everybody's loss by itself, and
# of many who are about to be late most are late anyway.
PRICE_SHARES = (0.1, 0.4, 0.2)
TICKS_AHEAD = (768, 64, 992)


@njit(cache=True)
def regret_order(order, table, terms, price, ahead):  # type: ignore[no-untyped-def]
    """Fill ``order``, int64[n], by regret insertion.

    The next turn goes to the candidate that loses most by waiting: its worth now against the
    most it is worth ``ahead`` ticks later or after, each less ``price``, float64[cells], of
    the slot time it takes. Cost: a pass over all n for each turn in the window, 1.5 ns each.
    """
    now, best = _net_worth(table, terms, price)
    stay = table.stay_worth - price[0] * table.stay_hold
    _construct(order, table, terms, stay, now, best, ahead)


@njit(cache=True)
def delay_price(order, table, terms, free, turns):  # type: ignore[no-untyped-def]
    """float64[cells]: what a tick of a slot taken then costs those of ``order`` behind it."""
    cells = table.worth.shape[1]
    _, seen = walk(order, table, terms, free, turns)
    middle = middles(table.cell_of)
    lost = np.zeros(cells)
    for position in range(seen):
        i = order[position]
        cell = table.cell_of[turns[position]]
        stays = position < terms.slots and i < terms.running
        if not stays and cell < cells - 1:
            fall = table.worth[i, cell] - table.worth[i, cell + 1]
            lost[cell] += max(fall, 0.0) / (middle[cell + 1] - middle[cell])
    for cell in range(cells - 2, -1, -1):
        lost[cell] += lost[cell + 1]
    return lost / terms.slots


@njit(cache=True)
def _net_worth(table, terms, price):  # type: ignore[no-untyped-def]
    """Worth less the price of the slot time, by cell, and its maximum from each cell on."""
    n, cells = table.worth.shape
    now, best = np.empty((n, cells)), np.empty((n, cells))
    for i in range(n):
        # Not to be served at all costs a running candidate its slot and others nothing.
        top = -terms.preempt_cost if i < terms.running else 0.0
        for cell in range(cells - 1, -1, -1):
            # A prefill takes the time of every slot.
            taken = table.hold[i, cell] + terms.prefill_slots * table.prefill[i]
            now[i, cell] = table.worth[i, cell] - price[cell] * taken
            top = max(top, now[i, cell])
            best[i, cell] = top
    return now, best


@njit(cache=True)
def _construct(order, table, terms, stay, now, best, ahead):  # type: ignore[no-untyped-def]
    """Fill ``order`` turn by turn; who gets none in the window follows in index order."""
    n = len(now)
    free = np.zeros(len(table.cell_of), dtype=np.int64)
    free[0] = terms.slots
    left = np.arange(n)
    at = placed = 0
    chain = 0.0
    while placed < n:
        at, turn = next_turn(free, at, chain)
        if turn >= free.shape[0] - 1:
            break
        cell = table.cell_of[turn]
        later = table.cell_of[min(turn + ahead, len(free) - 1)]
        pick, most = 0, -np.inf
        for k in range(n - placed):
            i = left[k]
            stays = placed < terms.slots and i < terms.running
            regret = (stay[i] if stays else now[i, cell]) - best[i, later]
            if regret > most:
                pick, most = k, regret
        i = left[pick]
        left[pick] = left[n - placed - 1]
        if placed < terms.slots and i < terms.running:
            chain = take_slot(free, 0, 0, table.stay_prefill[i], table.stay_hold[i], chain)
        else:
            chain = take_slot(free, at, turn, table.prefill[i], table.hold[i, cell], chain)
        order[placed] = i
        placed += 1
    order[placed:] = np.sort(left[: n - placed])
