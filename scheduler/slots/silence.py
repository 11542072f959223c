"""How long a stream that has begun may be silent, and who gives way so that it is not; compiled.

A client sees a stream that lost its slot as one that has stalled, and cuts it after a while. So a
stream is brought back in time, whatever its SLO; no more streams are paused at once than can be
brought back; and nobody is preempted over and over.
"""

from typing import NamedTuple

import numpy as np

from scheduler.compiled import compiled
from scheduler.phase import is_prefilling
from scheduler.slots.config import SlotConfig
from scheduler.slots.problem import Fact, SlotProblem
from scheduler.snapshot import Bools, Column, Floats, Ints, Snapshot

_HANDLE, _PROMPT_TOKENS = int(Column.HANDLE), int(Column.PROMPT_TOKENS)
_GENERATED, _LAST_TOKEN_S = int(Column.GENERATED), int(Column.LAST_TOKEN_S)
_PREEMPTIONS, _RESTART_S = int(Column.PREEMPTIONS), int(Fact.RESTART_S)

# From these shares of the bound on a silent stream comes before all others that wait, and takes
# the slot of somebody else if none is free.
_FIRST_SHARE, _FORCED_SHARE = 1.0 / 3.0, 1.0 / 2.0
# Of the slots so many may have paused streams, of the bound so much may go into their prefills.
_PAUSED_SHARE, _PREFILL_SHARE = 1.0 / 4.0, 1.0 / 8.0
# KV memory that a stream takes beyond its tokens.
_BLOCK_TOKENS = 16


class SilentStreams(NamedTuple):
    """Begun streams that wait or compute their context again, the longest silent first.

    ``first``, int64[k], are indices into the problem: who comes before everybody else. The
    ``forced`` first of them must have a slot now.
    """

    first: Ints
    forced: int


def silent_streams(snapshot: Snapshot, problem: SlotProblem, config: SlotConfig) -> SilentStreams:
    """Look at everybody. Cost: 10 ns for each that waits."""
    first, forced = _silent(
        snapshot.running.values,
        snapshot.waiting.values,
        problem.facts,
        snapshot.now_s,
        config.silence_s,
    )
    return SilentStreams(first, forced)


def in_front(first: Ints, order: Ints) -> Ints:
    """``order`` with the ``first`` in front of it."""
    if not len(first):
        return order
    return np.concatenate((first, order[~np.isin(order, first)]))


def who_yields(
    snapshot: Snapshot, order: Ints, preempt: Ints, forced: Ints, config: SlotConfig
) -> Ints:
    """Who gives up a slot: of those that the plan would preempt, and for the ``forced``; handles.

    ``order`` is the plan's. Of ``preempt`` those are spared that were preempted
    ``most_preemptions`` times or compute their context again, and streams beyond as many as can
    be brought back in time. If that leaves the ``forced`` without slot or memory, the last in
    ``order`` go, those preempted least often first. Cost: 10 us.
    """
    room = _room_for_pauses(snapshot, config) if len(preempt) else 0
    # Called even where nobody is to go: what a policy runs is compiled before an engine waits.
    return _yielding(
        (snapshot.running.values, snapshot.waiting.values),
        order,
        preempt,
        forced,
        (snapshot.limits.max_num_seqs, float(snapshot.kv_tokens_free)),
        config.most_preemptions,
        room,
    )


def _room_for_pauses(snapshot: Snapshot, config: SlotConfig) -> int:
    """How many more streams may be paused, so that all can be brought back in time."""
    waiting = snapshot.waiting
    begun = waiting.generated > 0.0
    paused = int(begun.sum())
    most = max(int(snapshot.limits.max_num_seqs * _PAUSED_SHARE), 1)
    if paused >= most or config.silence_s == np.inf:
        return max(most - paused, 0)
    running = snapshot.running
    context = running.prompt_tokens + running.generated
    prefill_s = float(snapshot.latency.prefill_s(1.0, float(context.mean()) if len(running) else 1))
    spent_s = snapshot.latency.prefill_s(1, waiting.prefill_left[begun]).sum()
    left_s = config.silence_s * _PREFILL_SHARE - float(spent_s)
    room = int(left_s / max(prefill_s, 1e-9))
    return min(most - paused, max(room, 0 if paused else 1))


@compiled
def _silent(
    running: Floats, waiting: Floats, facts: Floats, now_s: float, bound_s: float
) -> tuple[Ints, int]:
    size, n = running.shape[1], waiting.shape[1]
    found, last_s = np.empty(size + n, np.int64), np.empty(size + n)
    count = 0
    for i in range(size + n):
        request = running[:, i] if i < size else waiting[:, i - size]
        unknown = request[_GENERATED] == 0.0 or np.isnan(request[_LAST_TOKEN_S])
        if unknown or (i < size and not is_prefilling(request)):
            continue
        found[count], last_s[count] = i, request[_LAST_TOKEN_S]
        count += 1
    first = np.empty(count, np.int64)
    taken = forced = 0
    # They are prefilled one after the other: who comes later has to begin sooner.
    prefills_s = 0.0
    for k in np.argsort(last_s[:count], kind="mergesort"):
        i = found[k]
        prefills_s += facts[i, _RESTART_S]
        spent = (now_s - last_s[k] + prefills_s) / bound_s
        if i >= size and spent < _FIRST_SHARE:
            continue
        first[taken] = i
        taken += 1
        if i < size or spent >= _FORCED_SHARE:
            forced = taken
    return first[:taken], forced


@compiled
def _yielding(
    requests: tuple[Floats, Floats],
    order: Ints,
    preempt: Ints,
    forced: Ints,
    engine: tuple[int, float],
    most_preemptions: int,
    room: int,
) -> Ints:
    """``requests``: the running and the waiting; ``engine``: its slots and free KV tokens."""
    running, waiting = requests
    slots, kv_free = engine
    size = running.shape[1]
    place = _places(running, order)
    is_forced, goes = np.zeros(len(place), np.bool_), np.zeros(size, np.bool_)
    is_forced[forced] = True
    found = np.empty(size, np.int64)
    count = 0
    # The last of the plan's order go first.
    for handle in preempt[::-1]:
        i = place[handle]
        if is_forced[handle] or _is_spared(running[:, i], most_preemptions):
            continue
        pauses = running[_GENERATED, i] > 0.0
        if pauses and room < 1:
            continue
        room -= pauses
        goes[i] = True
        found[count] = i
        count += 1
    wanted, tokens = _wanted(waiting, is_forced)
    memory = kv_free + _context(running, found[:count])
    while wanted > slots - size + count or tokens > memory:
        i = _last_of_all(running, order, place, goes, is_forced)
        if i < 0:
            break
        goes[i] = True
        found[count] = i
        count += 1
        memory += running[_PROMPT_TOKENS, i] + running[_GENERATED, i]
    handles: Floats = running[_HANDLE]
    return handles[found[:count]].astype(np.int64)


@compiled
def _places(running: Floats, order: Ints) -> Ints:
    """int64[largest handle + 1]: the place of each among the running; -1: it waits."""
    top = running[_HANDLE].max() if running.shape[1] else 0.0
    if len(order):
        top = max(top, float(order.max()))
    place = np.full(int(top) + 1, -1, np.int64)
    for i in range(running.shape[1]):
        place[int(running[_HANDLE, i])] = i
    return place


@compiled
def _wanted(waiting: Floats, is_forced: Bools) -> tuple[int, float]:
    """Slots and KV tokens for those of the forced that wait."""
    count, tokens = 0, 0.0
    for i in range(waiting.shape[1]):
        handle = int(waiting[_HANDLE, i])
        if handle < len(is_forced) and is_forced[handle]:
            count += 1
            tokens += waiting[_PROMPT_TOKENS, i] + waiting[_GENERATED, i] + 2 * _BLOCK_TOKENS
    return count, tokens


@compiled
def _context(running: Floats, places: Ints) -> float:
    tokens = 0.0
    for i in places:
        tokens += running[_PROMPT_TOKENS, i] + running[_GENERATED, i]
    return tokens


@compiled
def _last_of_all(running: Floats, order: Ints, place: Ints, goes: Bools, is_forced: Bools) -> int:
    """The last in the order of those preempted least often; -1: nobody can go."""
    found, times = -1, np.inf
    for handle in order[::-1]:
        i = place[handle]
        if i < 0 or goes[i] or is_forced[handle] or _returns(running[:, i]):
            continue
        if running[_PREEMPTIONS, i] < times:
            found, times = i, running[_PREEMPTIONS, i]
    return found


@compiled
def _is_spared(request: Floats, most_preemptions: int) -> bool:
    return request[_PREEMPTIONS] >= most_preemptions or _returns(request)


@compiled
def _returns(request: Floats) -> bool:
    """Whether a stream computes its context again and has not put out a token since."""
    return request[_GENERATED] > 0.0 and is_prefilling(request)
