"""Orders built turn by turn: who would lose most by waiting comes next; compiled."""

import numpy as np

from scheduler.compiled import compiled
from scheduler.slots.chance import Terms
from scheduler.slots.timetable import Timetable, middles
from scheduler.slots.walk import all_free, keeps_slot, next_turn, take_slot, walk
from scheduler.snapshot import Floats, Ints

# Each pair wins in other situations: the share of the price of delay that is charged, and how many
# ticks later "later" is. Only shares, because the price counts everybody's loss by itself, and
# of many who are about to be late most are late anyway.
PRICE_SHARES = (0.1, 0.4, 0.2)
TICKS_AHEAD = (768, 64, 992)


@compiled
def regret_order(order: Ints, table: Timetable, terms: Terms, price: Floats, ahead: int) -> None:
    """Fill ``order``, int64[n], by regret insertion.

    The next turn goes to the candidate that loses most by waiting: its worth now against the
    most it is worth ``ahead`` ticks later or after, each less ``price``, float64[cells], of
    the slot time it takes. Cost: a pass over all n for each turn in the window, 1.5 ns each.
    """
    space = _space(table, terms)
    now, best = _net_worth(table, terms, price, space)
    stay = table.stay_worth - price[0] * table.stay_hold * space
    _construct(order, table, terms, stay, now, best, ahead)


@compiled
def delay_price(order: Ints, table: Timetable, terms: Terms, free: Floats, turns: Ints) -> Floats:
    """float64[cells]: what a tick of a slot taken then costs those of ``order`` behind it."""
    cells = table.worth.shape[1]
    _, seen = walk(order, table, terms, free, turns)
    middle = middles(table.cell_of)
    lost = np.zeros(cells)
    for position in range(seen):
        i = order[position]
        cell = table.cell_of[turns[position]]
        stays = turns[position] == 0 and position < terms.slots and i < terms.running
        if not stays and cell < cells - 1:
            fall = table.worth[i, cell] - table.worth[i, cell + 1]
            lost[cell] += max(fall, 0.0) / (middle[cell + 1] - middle[cell])
    for cell in range(cells - 2, -1, -1):
        lost[cell] += lost[cell + 1]
    return lost / terms.slots


@compiled
def _space(table: Timetable, terms: Terms) -> Floats:
    """float64[n]: how many slots' worth of the engine each holds, by memory where that binds."""
    if terms.kv_tokens < np.inf:
        return table.memory * (terms.slots / terms.kv_tokens)
    return np.ones(len(table.memory))


@compiled
def _net_worth(
    table: Timetable, terms: Terms, price: Floats, space: Floats
) -> tuple[Floats, Floats]:
    """Worth less the price of the slot time, by cell, and its maximum from each cell on."""
    n, cells = table.worth.shape
    now, best = np.empty((n, cells)), np.empty((n, cells))
    for i in range(n):
        # Not to be served at all costs a running candidate its slot and others nothing.
        top = -terms.preempt_cost if i < terms.running else 0.0
        for cell in range(cells - 1, -1, -1):
            # A prefill takes the time of every slot.
            taken = table.hold[i, cell] * space[i] + terms.prefill_slots * table.prefill[i]
            now[i, cell] = table.worth[i, cell] - price[cell] * taken
            top = max(top, now[i, cell])
            best[i, cell] = top
    return now, best


@compiled
def _construct(
    order: Ints, table: Timetable, terms: Terms, stay: Floats, now: Floats, best: Floats, ahead: int
) -> None:
    """Fill ``order`` turn by turn; who gets none in the window follows in index order.

    A turn comes when a slot is free, and the memory for the least of those left; who does not
    fit then is passed.
    """
    n = len(now)
    last = len(table.cell_of) - 1
    free = np.empty((2, last + 1))
    all_free(free, terms)
    left = np.arange(n)
    at = placed = 0
    chain = 0.0
    while placed < n:
        least = 0.0
        if terms.kv_tokens < np.inf:
            least = table.memory[left[: n - placed]].min()
        at, turn = next_turn(free, at, least, terms, chain)
        if turn >= last:
            break
        cell = table.cell_of[turn]
        later = table.cell_of[min(turn + ahead, last)]
        pick, most = 0, -np.inf
        for k in range(n - placed):
            i = left[k]
            if terms.kv_tokens < np.inf and table.memory[i] > free[1, at]:
                continue
            stays = at == 0 and i < terms.running
            regret = (stay[i] if stays else now[i, cell]) - best[i, later]
            if regret > most:
                pick, most = k, regret
        i = left[pick]
        left[pick] = left[n - placed - 1]
        memory = table.memory[i]
        if i < terms.running and keeps_slot(free, at, memory, terms):
            held = (table.stay_prefill[i], table.stay_hold[i], memory)
            chain = take_slot(free, 0, 0, held, terms, chain)
        else:
            held = (table.prefill[i], table.hold[i, cell], memory)
            chain = take_slot(free, at, turn, held, terms, chain)
        order[placed] = i
        placed += 1
    order[placed:] = np.sort(left[: n - placed])
