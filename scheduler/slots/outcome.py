"""What will become of each request under a decision: when it begins and ends, and its chance."""

from typing import NamedTuple

import numpy as np

from scheduler.compiled import compiled
from scheduler.decision import StepDecision
from scheduler.slots.chance import outlook
from scheduler.slots.config import SlotConfig
from scheduler.slots.problem import Fact, SlotProblem
from scheduler.snapshot import Bools, Floats, Ints, Snapshot

_START_S, _RESTART_S, _PROMISED = int(Fact.START_S), int(Fact.RESTART_S), int(Fact.PROMISED)


class Outcome(NamedTuple):
    """By expected lengths, one entry for each live request, in the order they are served.

    ``handle`` and ``slot`` are int64[n]; ``runs``, bool[n], who holds its slot already and keeps
    it; ``turn_s`` (its slot comes free), ``begin_s`` (its next token can come out), ``end_s``
    float64[n], from now; ``chance`` float64[n] to keep the promise so, ``chance_now`` if it began
    at once; ``nan`` without a promise.
    """

    handle: Ints
    slot: Ints
    runs: Bools
    turn_s: Floats
    begin_s: Floats
    end_s: Floats
    chance: Floats
    chance_now: Floats

    @property
    def attainment(self) -> float | None:
        """Expected share of promises kept; ``None`` if nothing was promised."""
        promised = self.chance[~np.isnan(self.chance)]
        return float(promised.mean()) if len(promised) else None


def outcome(snapshot: Snapshot, decision: StepDecision) -> Outcome:
    """Walk everybody through the slots, the held back last. Cost: 0.2 ms with 256 waiting."""
    problem = SlotProblem.of(snapshot, SlotConfig())
    place = {handle: row for row, handle in enumerate(problem.handle.tolist())}
    gone = set(decision.preempt.tolist())
    keeps = [h for h in snapshot.running.handle.tolist() if h not in gone]
    held = set(decision.held.tolist())
    ordered = decision.order.tolist()
    waits = [h for h in ordered if h not in held] + [h for h in ordered if h in held]
    rows = np.array([place[handle] for handle in (*keeps, *waits)], dtype=np.int64)
    slot, turn_s, begin_s, end_s, chance, chance_now = _walk(
        rows,
        len(keeps),
        problem.running,
        problem.slots,
        problem.facts,
        problem.atoms,
        problem.token_s,
    )
    return Outcome(
        handle=problem.handle[rows],
        slot=slot,
        runs=np.arange(len(rows)) < len(keeps),
        turn_s=turn_s,
        begin_s=begin_s,
        end_s=end_s,
        chance=chance,
        chance_now=chance_now,
    )


@compiled
def _walk(
    rows: Ints, keeps: int, running: int, slots: int, facts: Floats, atoms: Floats, token_s: float
) -> tuple[Ints, Floats, Floats, Floats, Floats, Floats]:
    """Each takes the slot that comes free first; prefills are computed one after the other."""
    n = len(rows)
    # Nobody needs more slots than there are requests.
    free_s = np.zeros(min(max(slots, keeps), n))
    slot = np.empty(n, dtype=np.int64)
    turn_s, begin_s, end_s = np.empty(n), np.empty(n), np.empty(n)
    chance, chance_now = np.empty(n), np.empty(n)
    chain_s = 0.0
    for place in range(n):
        i = rows[place]
        k = place if place < keeps else np.argmin(free_s)
        lost_slot = place >= keeps and i < running
        prefill_s = facts[i, _RESTART_S] if lost_slot else facts[i, _START_S]
        begin = turn_s[place] = free_s[k]
        if prefill_s > 0.0:
            begin = chain_s = max(begin, chain_s) + prefill_s
        chance[place], _ = outlook(i, begin, facts, atoms, token_s)
        chance_now[place], _ = outlook(i, prefill_s, facts, atoms, token_s)
        if facts[i, _PROMISED] == 0.0:
            chance[place] = chance_now[place] = np.nan
        slot[place], begin_s[place] = k, begin
        end_s[place] = free_s[k] = begin + atoms[i].mean() * token_s
    return slot, turn_s, begin_s, end_s, chance, chance_now
