"""What each candidate is worth, and how long it holds a slot, by when it begins; compiled."""

from typing import NamedTuple

import numpy as np

from scheduler.compiled import compiled, inlined
from scheduler.slots.chance import Lines, Terms, promise_lines
from scheduler.slots.price import Demand
from scheduler.slots.problem import Fact, SlotProblem
from scheduler.snapshot import Floats, Ints

_START_S, _RESTART_S = int(Fact.START_S), int(Fact.RESTART_S)
_TOKEN_SLOT_S = int(Fact.TOKEN_SLOT_S)

# A plan looks this many horizons ahead, in so many ticks; worth is tabulated by cells of them,
# the first so wide, each wider than the one before: what is near is decided now.
WINDOW_HORIZONS = 5.0
TICKS = 1024
_FIRST_CELL = 4.0
_GROWTH = 1.08
# However many are ahead of a request in worth: one turn in so many is its own.
_MOST_PUSHED = 20.0


class Timetable(NamedTuple):
    """Columns by candidate, n of them; times in ticks of ``tick_s`` seconds from now.

    ``cell_of`` is int64[ticks], ascending from 0. ``worth`` is float64[n, cells]: kept promises,
    discounted, if the candidate's turn comes in that cell, its prefill still to do; ``hold``
    float64[n, cells] how long it decodes then.
    ``stay_worth``, ``stay_hold`` and ``stay_prefill`` are float64[n], for a running candidate
    that keeps its slot; ``prefill`` is float64[n], for everybody else's turn. ``memory`` is
    float64[n], the KV tokens that a candidate holds.
    """

    tick_s: float
    cell_of: Ints
    worth: Floats
    hold: Floats
    prefill: Floats
    stay_worth: Floats
    stay_hold: Floats
    stay_prefill: Floats
    memory: Floats

    @classmethod
    def of(
        cls,
        problem: SlotProblem,
        terms: Terms,
        *,
        chosen: Ints | None = None,
    ) -> "Timetable":
        """Tabulate the window, of the ``chosen`` (all the running first) or of all.

        Requests to come that are worth more for the slot time they take push in: a turn that the
        plan gives in t seconds comes in t / (1 - the share of the slots that those take).
        Cost: 0.5 us per candidate with 1,024 ticks.
        """
        chosen = np.arange(len(problem)) if chosen is None else chosen
        cell_of = _cells(TICKS)
        n, cells = len(chosen), int(cell_of[-1]) + 1
        tick_s = WINDOW_HORIZONS * terms.horizon_s / TICKS
        worth, hold = np.empty((2, n, cells))
        prefill, stay_worth, stay_hold, stay_prefill = np.empty((4, n))
        memory = np.minimum(problem.facts[chosen, Fact.KV_TOKENS], problem.kv_tokens)
        table = cls(
            tick_s, cell_of, worth, hold, prefill, stay_worth, stay_hold, stay_prefill, memory
        )
        _fill(chosen, problem.facts, problem.atoms, terms, table)
        return table


@compiled
def _cells(ticks: int) -> Ints:
    """int64[ticks]: the cell of each tick."""
    cell_of = np.empty(ticks, dtype=np.int64)
    width = end = _FIRST_CELL
    cell = 0
    for tick in range(ticks):
        if tick >= end:
            cell += 1
            width *= _GROWTH
            end += width
        cell_of[tick] = cell
    return cell_of


@compiled
def middles(cell_of: Ints) -> Floats:
    """float64[cells]: the tick that stands for each cell; at once means at once."""
    cells = cell_of[-1] + 1
    total, count = np.zeros(cells), np.zeros(cells)
    for tick in range(len(cell_of)):
        total[cell_of[tick]] += tick + 0.5
        count[cell_of[tick]] += 1.0
    total[0] = 0.0
    return total / count


@compiled
def _fill(chosen: Ints, facts: Floats, atoms: Floats, terms: Terms, table: Timetable) -> None:
    count = atoms.shape[1]
    cells = table.worth.shape[1]
    turn_s = middles(table.cell_of) * table.tick_s
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
        fixed_s, each_s = terms.prefill_slots * prefill_s, facts[i, _TOKEN_SLOT_S]
        chance, tokens, kept = _begun(prefill_s, lines, atoms[i], sums, count)
        later = _pushed(chance / max(fixed_s + tokens * each_s, 1e-12), terms.demand)
        for cell in range(cells):
            begin_s = turn_s[cell] * later + prefill_s
            chance, tokens, kept = _begun(begin_s, lines, atoms[i], sums, kept)
            cost_s = fixed_s + tokens * each_s
            worth = chance + terms.done_worth - terms.price * cost_s
            table.worth[row, cell] = worth * fade * faded[cell] - loss
            table.hold[row, cell] = tokens * token
        chance, tokens, _ = _begun(start_s, lines, atoms[i], sums, count)
        cost_s = terms.prefill_slots * start_s + tokens * each_s
        worth = chance + terms.done_worth - terms.price * cost_s
        table.stay_worth[row] = worth * np.exp(-start_s / terms.horizon_s)
        table.stay_hold[row] = tokens * token
        table.stay_prefill[row] = start_s / table.tick_s


@compiled
def _pushed(ratio: float, demand: Demand) -> float:
    """How many times as late the turn of somebody worth ``ratio`` a slot-second comes."""
    above = float(demand.above[np.searchsorted(demand.ratio, ratio, side="right")])
    return min(1.0 / max(1.0 - above, 1e-12), _MOST_PUSHED)


@inlined
def _begun(
    begin_s: float, lines: Lines, atoms: Floats, sums: Floats, bound: int
) -> tuple[float, float, int]:
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
