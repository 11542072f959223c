"""What each candidate is worth, and how long it holds a slot, by when it begins; compiled."""

from typing import NamedTuple

import numpy as np
from numba import njit

from scheduler.slots.chance import Terms, promise_lines
from scheduler.slots.problem import Fact, SlotProblem
from scheduler.snapshot import Floats, Ints

_START_S, _RESTART_S = int(Fact.START_S), int(Fact.RESTART_S)

# A plan looks this many horizons ahead, in so many ticks; worth is tabulated every cell of them.
WINDOW_HORIZONS = 5.0
TICKS = 256
TICKS_PER_CELL = 8


class Timetable(NamedTuple):
    """Columns by candidate, n of them; times in ticks of ``tick_s`` seconds from now.

    ``worth`` is float64[n, cells]: kept promises, discounted, if the candidate's turn comes in
    that cell, its prefill still to do; ``hold`` float64[n, cells] how long it decodes then.
    ``stay_worth``, ``stay_hold`` and ``stay_prefill`` are float64[n], for a running candidate
    that keeps its slot; ``prefill`` is float64[n], for everybody else's turn.
    """

    tick_s: float
    worth: Floats
    hold: Floats
    prefill: Floats
    stay_worth: Floats
    stay_hold: Floats
    stay_prefill: Floats

    @classmethod
    def of(
        cls,
        problem: SlotProblem,
        terms: Terms,
        *,
        chosen: Ints | None = None,
        ticks: int = TICKS,
    ) -> "Timetable":
        """Tabulate ``ticks`` over the window, of the ``chosen`` (all the running first) or of all.

        Cost: 0.3 us per candidate with 256 ticks.
        """
        chosen = np.arange(len(problem)) if chosen is None else chosen
        n, cells = len(chosen), ticks // TICKS_PER_CELL
        tick_s = WINDOW_HORIZONS * terms.horizon_s / ticks
        worth, hold = np.empty((2, n, cells))
        prefill, stay_worth, stay_hold, stay_prefill = np.empty((4, n))
        table = cls(tick_s, worth, hold, prefill, stay_worth, stay_hold, stay_prefill)
        _fill(chosen, problem.facts, problem.atoms, terms, table)
        return table


@njit(cache=True)
def _fill(chosen, facts, atoms, terms, table):  # type: ignore[no-untyped-def]
    count = atoms.shape[1]
    cells = table.worth.shape[1]
    # The middle of a cell, but at once means at once.
    turn_s = (np.arange(cells) + 0.5) * TICKS_PER_CELL * table.tick_s
    turn_s[0] = 0.0
    faded = np.exp(-turn_s / terms.horizon_s)
    token = terms.token_s / table.tick_s
    sums = np.zeros(count + 1)
    for row, i in enumerate(chosen):
        for a in range(count):
            sums[a + 1] = sums[a] + atoms[i, a]
        runs = i < terms.running
        start_s = facts[i, _START_S]
        prefill_s = facts[i, _RESTART_S] if runs else start_s
        table.prefill[row] = prefill_s / table.tick_s
        fade = np.exp(-prefill_s / terms.horizon_s)
        loss = terms.preempt_cost if runs else 0.0
        lines = promise_lines(i, facts, terms.token_s)
        kept = count
        for cell in range(cells):
            chance, tokens, kept = _begun(turn_s[cell] + prefill_s, lines, atoms[i], sums, kept)
            cost_s = terms.slots * prefill_s + tokens * terms.decode_s
            worth = chance + terms.done_worth - terms.price * cost_s
            table.worth[row, cell] = worth * fade * faded[cell] - loss
            table.hold[row, cell] = tokens * token
        chance, tokens, _ = _begun(start_s, lines, atoms[i], sums, count)
        cost_s = terms.slots * start_s + tokens * terms.decode_s
        worth = chance + terms.done_worth - terms.price * cost_s
        table.stay_worth[row] = worth * np.exp(-start_s / terms.horizon_s)
        table.stay_hold[row] = tokens * token
        table.stay_prefill[row] = start_s / table.tick_s


@njit(cache=True, inline="always")
def _begun(begin_s, lines, atoms, sums, bound):  # type: ignore[no-untyped-def]
    """Chance and tokens of a candidate that begins to decode at ``begin_s``, and a new ``bound``.

    ``bound`` is how many atoms could be short enough to keep the promise so far: the later it
    begins, the fewer; 0 if hope is lost.
    """
    count = atoms.shape[0]
    tokens = sums[count] / count
    if bound == 0:
        return 0.0, tokens, 0
    latest_s, low0, low1, high0, high1, cap0, cap1 = lines
    if begin_s > latest_s:
        return 0.0, tokens, 0
    high = min(high0 + high1 * begin_s, cap0 + cap1 * begin_s)
    while bound > 0 and atoms[bound - 1] > high:
        bound -= 1
    low = low0 + low1 * begin_s
    over = 0
    while over < bound and atoms[over] < low:
        over += 1
    if over == bound:
        return 0.0, tokens, 0
    if bound < count:
        # Nobody goes on after hope is lost.
        tokens = (sums[bound] + (count - bound) * high) / count
    return (bound - over) / count, tokens, bound
