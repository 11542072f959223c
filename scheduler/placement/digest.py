"""What a router has to know of an engine: made by the engine, of one size, cheap to send.

Where a newcomer stands in the engine's order decides when its turn comes, and what that costs the
others. Both are read off walks through the engine's slots (:mod:`scheduler.slots.walk`) with two
guests at a dozen places, one of next to no size and one of the usual, so that a router needs
neither the requests nor their forecasts. While slots are free nobody waits for one, but steps take
longer: what that costs is read off a timetable of slower tokens.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from predictor.errors import InputError
from scheduler.blocked import Blocked
from scheduler.compiled import compiled
from scheduler.latency import Scenario
from scheduler.slots.chance import Terms, worth
from scheduler.slots.config import SlotConfig
from scheduler.slots.price import no_demand
from scheduler.slots.problem import Fact, SlotProblem
from scheduler.slots.timetable import WINDOW_HORIZONS, Timetable
from scheduler.slots.walk import walk
from scheduler.snapshot import Floats, Ints, Snapshot

# Places in an engine's order a newcomer is tried at: 0, 1, 2, 4, ... and the end.
PLACES = 12
# Promises end in clumps, and token times are estimates: whether one request more crosses an edge
# says little. What slower steps cost is a slope over tokens that are slower by this share.
_SLOWER_BY = 0.3


class Item(IntEnum):
    """Columns of a digest; the last ``3 * PLACES`` say what each place means."""

    LIVE = 0  # requests waiting, blocked and running
    SLOTS = 1
    TOKEN_S = 2  # time between two tokens of a request, the prefills of others included
    SERVICE_S = 3  # mean time a request holds a slot; 0: nobody is there
    PREFILL_S = 4  # a prefill of P tokens takes PREFILL_S + P PREFILL_TOKEN_S
    PREFILL_TOKEN_S = 5  # + P^2 PREFILL_SQUARED_S, others' answers included
    PREFILL_SQUARED_S = 6
    PREFILL_SLOTS = 7  # slot-seconds that a second of a prefill costs
    STEP_S = 8  # a decode step takes STEP_S, and for each answer over c cached tokens
    DECODE_S = 9  # DECODE_S + c CONTEXT_S
    CONTEXT_S = 10
    KV_FREE = 11  # tokens
    KV_USED = 12
    PLANNED = 13  # promises that are to be kept, and the work; what is later counts less
    SLOWDOWN = 14  # how many of them go for each second that a token takes longer
    CLOSED = 15  # not 0: nobody can be admitted; `Closed`
    TURNS = 16  # PLACES of them: seconds until a newcomer's turn
    FEES = 16 + PLACES  # PLACES of them: promises others lose however little it takes
    TOLLS = 16 + 2 * PLACES  # PLACES of them: and by each slot-second that it takes


class Closed(IntEnum):
    """Values of ``Item.CLOSED``."""

    OPEN = 0
    FULL = 1  # until those who are there have left
    PAUSED = 2  # until the operator resumes


SIZE = int(Item.TOLLS) + PLACES
_DECODE, _PREFILL = int(Scenario.DECODE), int(Scenario.PREFILL)
_PREFILL_S, _PREFILL_TOKEN_S = int(Item.PREFILL_S), int(Item.PREFILL_TOKEN_S)
_PREFILL_SQUARED_S, _PREFILL_SLOTS = int(Item.PREFILL_SQUARED_S), int(Item.PREFILL_SLOTS)
_STEP_S, _DECODE_S, _CONTEXT_S = int(Item.STEP_S), int(Item.DECODE_S), int(Item.CONTEXT_S)
_TURNS, _FEES, _TOLLS = int(Item.TURNS), int(Item.FEES), int(Item.TOLLS)


@dataclass(frozen=True, slots=True)
class Digest:
    """One engine at one moment: ``values``, float64[SIZE], by :class:`Item`."""

    values: Floats

    @classmethod
    def of(cls, snapshot: Snapshot, config: SlotConfig | None = None) -> "Digest":
        """Boil a snapshot down. Cost: two timetables at most, and 27 walks."""
        config = config or SlotConfig()
        values = np.zeros(SIZE)
        problem = SlotProblem.of(snapshot, config)
        live = len(problem)
        values[Item.LIVE] = live + snapshot.left_out + snapshot.blocked
        values[Item.SLOTS] = problem.slots
        if snapshot.closed is not None:
            paused = snapshot.closed is Blocked.PAUSED
            values[Item.CLOSED] = Closed.PAUSED if paused else Closed.FULL
        if live:
            values[Item.TOKEN_S], values[Item.SERVICE_S] = problem.token_s, problem.service_s
        values[Item.KV_FREE] = snapshot.kv_tokens_free
        values[Item.KV_USED] = snapshot.limits.kv_tokens - snapshot.kv_tokens_free
        _costs(snapshot.latency.table, problem.slots, problem.stretch, values)
        if live:
            # A gain fades with the time until it comes, by 1/e in a mean service time.
            terms = Terms.of(problem, config, no_demand())._replace(horizon_s=problem.service_s)
            _, cost_s, index = worth(problem, terms)
            order = np.argsort(-index, kind="stable")
            alone = Timetable.of(problem, terms)
            values[Item.PLANNED] = max(_planned(order, alone, terms), 0.0)
            if live < problem.slots:
                values[Item.SLOWDOWN] = _slowdown(order, problem, terms, values)
            table = _with_guests(alone, problem)
            _curve(order, table, terms, max(float(cost_s.mean()), 1e-9), values)
        return cls(values)

    @classmethod
    def from_bytes(cls, raw: bytes) -> "Digest":
        """Read :meth:`to_bytes`; raises ``InputError`` for what another release wrote."""
        if len(raw) == 8 * SIZE:
            values = np.frombuffer(raw, dtype="<f8")
            if np.isfinite(values).all():
                return cls(values)
        raise InputError(
            f"a digest of {len(raw)} bytes is not one of this release's {8 * SIZE}: "
            "run the same release of Slotwise on all replicas"
        )

    @property
    def paused(self) -> bool:
        """Whether the operator has paused the engine: it makes no steps, or only ends some."""
        return bool(self.values[Item.CLOSED] == Closed.PAUSED)

    def idle(self) -> "Digest":
        """The same engine once everybody has left."""
        values = self.values.copy()
        values[Item.LIVE] = values[Item.TOKEN_S] = values[Item.SERVICE_S] = 0.0
        # Steps that were cut short for somebody's TPOT are so no longer.
        values[Item.PREFILL_S : Item.PREFILL_SLOTS] *= values[Item.PREFILL_SLOTS] / max(
            values[Item.SLOTS], 1.0
        )
        values[Item.PREFILL_SLOTS] = values[Item.SLOTS]
        values[Item.KV_FREE] += values[Item.KV_USED]
        values[Item.KV_USED] = 0.0
        values[Item.PLANNED :] = 0.0
        if self.paused:
            values[Item.CLOSED] = Closed.PAUSED
        return Digest(values)

    def to_bytes(self) -> bytes:
        """``8 * SIZE`` bytes, little endian."""
        return self.values.astype("<f8").tobytes()


@compiled
def _costs(table: Floats, slots: int, stretch: float, values: Floats) -> None:
    """What prefills and decodes take, as polynomials in their tokens."""
    prefill, decode = table[_PREFILL], table[_DECODE]
    # A prefill rides on a step that decodes anyway.
    values[_PREFILL_S] = stretch * max(prefill[7] - decode[7], 0.0)
    values[_PREFILL_TOKEN_S] = stretch * (prefill[5] + prefill[6])
    values[_PREFILL_SQUARED_S] = stretch * prefill[1]
    values[_PREFILL_SLOTS] = slots / stretch
    values[_STEP_S], values[_DECODE_S], values[_CONTEXT_S] = decode[7], decode[3], decode[4]


def _slowdown(order: Ints, problem: SlotProblem, terms: Terms, values: Floats) -> float:
    """``Item.SLOWDOWN``; 0 where steps always take the same, whoever shares them.

    Who shares steps shares them with everybody: a slot may be free, and the promises of those
    beside it still break.
    """
    own_s = values[Item.DECODE_S] + float(problem.context.mean()) * values[Item.CONTEXT_S]
    if own_s + float(problem.facts[:, Fact.RESTART_S].mean()) <= 0.0:
        return 0.0
    more_s = _SLOWER_BY * terms.token_s
    slower = Timetable.of(problem, terms._replace(token_s=terms.token_s + more_s))
    lost = values[Item.PLANNED] - _planned(order, slower, terms)
    return float(max(lost, 0.0) / more_s)


def _planned(order: Ints, table: Timetable, terms: Terms) -> float:
    """What :func:`scheduler.slots.walk.walk` says of this order."""
    free = np.empty((2, len(table.cell_of)))
    turns = np.empty(len(order), dtype=np.int64)
    return walk(order, table, terms, free, turns)[0]


def _with_guests(table: Timetable, problem: SlotProblem) -> Timetable:
    """Two more candidates, the last, worth nothing: of next to no size, and of mean size."""
    hold = np.array([[1.0], [problem.service_s / table.tick_s]])
    prefill = float(problem.facts[:, 1].mean()) / table.tick_s
    cells = table.worth.shape[1]
    return table._replace(
        worth=np.vstack([table.worth, np.zeros((2, cells))]),
        hold=np.vstack([table.hold, np.repeat(hold, cells, axis=1)]),
        prefill=np.append(table.prefill, [0.0, prefill]),
        memory=np.append(table.memory, [0.0, float(table.memory.mean())]),
    )


@compiled
def places(count: int) -> Ints:
    """int64[PLACES]: 0, 1, 2, 4, ... below ``count``, then ``count``."""
    found = np.full(PLACES, count, dtype=np.int64)
    at = 0
    for k in range(PLACES - 1):
        if at >= count:
            break
        found[k] = at
        at = max(2 * at, 1)
    return found


@compiled
def _curve(
    order: Ints, table: Timetable, terms: Terms, guest_cost_s: float, values: Floats
) -> None:
    """Turn, fee and toll at each place, by the guests (the table's last rows)."""
    count = len(order)
    free = np.empty((2, len(table.cell_of)))
    turns = np.empty(count + 1, dtype=np.int64)
    without, _ = walk(order, table, terms, free, turns)
    trial = np.empty(count + 1, dtype=np.int64)
    tried = places(count)
    for k in range(PLACES):
        place = tried[k]
        if k > 0 and place == tried[k - 1]:
            for row in (_TURNS, _FEES, _TOLLS):
                values[row + k] = values[row + k - 1]
            continue
        trial[:place] = order[:place]
        trial[place + 1 :] = order[place:]
        trial[place] = count
        small, _ = walk(trial, table, terms, free, turns)
        trial[place] = count + 1
        usual, seen = walk(trial, table, terms, free, turns)
        turn_s = turns[place] * table.tick_s if seen > place else WINDOW_HORIZONS * terms.horizon_s
        values[_TURNS + k] = turn_s
        values[_FEES + k] = max(without - small, 0.0)
        values[_TOLLS + k] = max(small - usual, 0.0) / guest_cost_s
