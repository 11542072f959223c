"""The planning problem of one moment: everybody who wants a slot, as arrays."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from scheduler.compiled import compiled
from scheduler.latency import Scenario, StepWork, work_seconds
from scheduler.lengths import fill_known_atoms
from scheduler.slots.config import SlotConfig
from scheduler.snapshot import ATOMS, Column, Floats, Ints, Snapshot

# Rows of the request tables, as plain numbers for the kernel.
_ARRIVAL_S, _PROMPT_TOKENS = int(Column.ARRIVAL_S), int(Column.PROMPT_TOKENS)
_PREFILL_LEFT, _GENERATED = int(Column.PREFILL_LEFT), int(Column.GENERATED)
_FIRST_S, _TARGET_TTFT_S = int(Column.FIRST_TOKEN_S), int(Column.TTFT_S)
_TARGET_TPOT_S, _TARGET_E2E_S = int(Column.TPOT_S), int(Column.E2E_S)

_DECODE, _PREFILL = int(Scenario.DECODE), int(Scenario.PREFILL)

# What a request may hold beyond its tokens because memory comes in blocks.
BLOCK_TOKENS = 16

# However little the running leave of a step: some of a prompt is computed in each.
_MOST_STRETCHED = 10.0


class Fact(IntEnum):
    """Columns of :attr:`SlotProblem.facts`; times are seconds from now."""

    START_S = 0  # prefill before the next token, if it gets or keeps a slot now
    RESTART_S = 1  # the same if it first has to give up its slot
    TTFT_DUE_S = 2  # inf: no such promise, or kept already; -inf: broken for good
    E2E_DUE_S = 3  # inf: no such promise
    TPOT_S = 4  # the target; inf: no such promise
    FIRST_TOKEN_S = 5  # when the first token came (<= 0); nan: not yet
    GENERATED = 6  # tokens out so far
    PROMISED = 7  # 1 if anything was promised, else 0
    TOKEN_SLOT_S = 8  # slot-seconds that each of its tokens takes from everybody
    KV_TOKENS = 9  # memory that it holds, on average over its remaining tokens


_FACTS = len(Fact)


@dataclass(frozen=True, slots=True)
class SlotProblem:
    """Candidates for ``slots`` places; the first ``running`` of the n hold one already.

    ``places`` is how many of them can run at once: as many as slots, KV memory and the tightest
    TPOT allow, whichever binds.

    ``facts`` is float64[n, len(Fact)]; ``atoms`` float64[n, ATOMS] are equally likely remaining
    tokens, ascending. ``token_s`` is the time between two tokens of a request while all slots
    are taken, the prefills of others included. Where that would break a TPOT, steps are cut
    short (``scheduler.slots.size``), and prefills take ``stretch`` times as long as alone.
    ``waited_s`` is float64[n], the time since arrival; ``context`` float64[n], the prompt and
    answer tokens a candidate has so far.
    """

    handle: Ints
    running: int
    slots: int
    places: float
    kv_tokens: int
    token_s: float
    stretch: float
    facts: Floats
    atoms: Floats
    waited_s: Floats
    context: Floats

    def __len__(self) -> int:
        return len(self.handle)

    @property
    def service_s(self) -> float:
        """Mean time a candidate would hold a slot."""
        return float(self.atoms.mean()) * self.token_s if len(self) else self.token_s

    @classmethod
    def of(cls, snapshot: Snapshot, config: SlotConfig) -> "SlotProblem":
        """Read a snapshot. Cost: about 40 us with 150 waiting, compiled."""
        running, waiting = snapshot.running, snapshot.waiting
        values = _side_by_side(running.values, waiting.values)
        n = values.shape[1]
        atoms = np.empty((n, ATOMS))
        lengths = snapshot.lengths
        fill_known_atoms(
            values[Column.HANDLE],
            values[Column.GENERATED],
            (lengths.edges, lengths.cdf, lengths.atoms),
            atoms,
        )
        table, limits = snapshot.latency.table, snapshot.limits
        slots, kv_tokens = limits.max_num_seqs, limits.kv_tokens
        token_s, stretch, places, in_memory = _pace(
            values, atoms, len(running), table, slots, kv_tokens, config.chunk_margin
        )
        # The share of the engine that a token of context takes, or else each request.
        shares = (slots / kv_tokens, 0.0) if in_memory <= places else (0.0, slots / places)
        facts, waited_s = _read(values, atoms, table, snapshot.now_s, slots, shares)
        facts[:, : Fact.TTFT_DUE_S] *= stretch
        return cls(
            handle=values[Column.HANDLE].astype(np.int64),
            running=len(running),
            slots=slots,
            places=places,
            kv_tokens=kv_tokens,
            token_s=token_s,
            stretch=stretch,
            facts=facts,
            atoms=atoms,
            waited_s=waited_s,
            context=values[Column.PROMPT_TOKENS] + values[Column.GENERATED],
        )


@compiled
def _side_by_side(left: Floats, right: Floats) -> Floats:
    values = np.empty((left.shape[0], left.shape[1] + right.shape[1]))
    values[:, : left.shape[1]] = left
    values[:, left.shape[1] :] = right
    return values


@compiled
def _added_prefill_s(tokens: float, table: Floats) -> float:
    """What a prefill of so many tokens adds to a step that decodes anyway."""
    if tokens <= 0.0:
        return 0.0
    alone_s = work_seconds(table, StepWork(0.0, tokens * tokens, 0.0, 0.0, 0.0, tokens, tokens))
    return alone_s - min(float(table[_PREFILL, -1]), float(table[_DECODE, -1]))


@compiled
def _decode_s(context: float, table: Floats) -> float:
    """Seconds of a step that decodes one request."""
    return work_seconds(table, StepWork(0.0, 0.0, 0.0, 1.0, context, 0.0, 0.0))


@compiled
def _read(
    values: Floats,
    atoms: Floats,
    table: Floats,
    now_s: float,
    slots: int,
    shares: tuple[float, float],
) -> tuple[Floats, Floats]:
    """``facts`` and ``waited_s``."""
    n = values.shape[1]
    facts, waited_s = np.empty((n, _FACTS)), np.empty(n)
    by_token, by_request = shares
    for i in range(n):
        arrival_s, generated = values[_ARRIVAL_S, i], values[_GENERATED, i]
        prompt, ttft_s = values[_PROMPT_TOKENS, i], values[_TARGET_TTFT_S, i]
        first_s, e2e_s = values[_FIRST_S, i], values[_TARGET_E2E_S, i]
        due_s = np.inf
        if ttft_s < np.inf and generated == 0.0:
            due_s = arrival_s + ttft_s - now_s
        elif ttft_s < np.inf and first_s > arrival_s + ttft_s:
            due_s = -np.inf
        tpot_s = values[_TARGET_TPOT_S, i]
        context = prompt + generated + atoms[i].mean() / 2.0
        facts[i, 0] = _added_prefill_s(values[_PREFILL_LEFT, i], table)
        facts[i, 1] = _added_prefill_s(prompt + generated, table)
        facts[i, 2] = due_s
        facts[i, 3] = arrival_s + e2e_s - now_s
        facts[i, 4] = tpot_s
        facts[i, 5] = first_s - now_s
        facts[i, 6] = generated
        facts[i, 7] = 1.0 if min(ttft_s, tpot_s, e2e_s) < np.inf else 0.0
        # Its own part of a decode step, and its share of what the step takes anyway.
        shared_s = table[_DECODE, -1]
        own_s = _decode_s(context, table) - shared_s
        facts[i, 9] = context + BLOCK_TOKENS
        facts[i, 8] = slots * own_s + shared_s * (by_token * facts[i, 9] + by_request)
        waited_s[i] = now_s - arrival_s
    return facts, waited_s


@compiled
def _pace(
    values: Floats,
    atoms: Floats,
    running: int,
    table: Floats,
    slots: int,
    kv_tokens: int,
    margin: float,
) -> tuple[float, float, float, float]:
    """token_s, stretch and places of :class:`SlotProblem`, and how many fit into memory."""
    n = values.shape[1]
    context = prefills_s = tokens = 0.0
    pace_s = np.inf
    # Who runs says what a decode costs; who waits may wait for ever.
    decoding = running if running > 0 else n
    for i in range(n):
        prompt, generated = values[_PROMPT_TOKENS, i], values[_GENERATED, i]
        to_come = atoms[i].mean()
        if i < decoding:
            context += (prompt + generated + to_come / 2.0) / decoding
        prefills_s += _added_prefill_s(prompt, table)
        tokens += generated + to_come
        pace_s = min(pace_s, values[_TARGET_TPOT_S, i] / margin)
    if n == 0:
        return 1.0, 1.0, float(slots), np.inf
    in_memory = max(kv_tokens / (context + BLOCK_TOKENS), 1.0)
    places = min(float(slots), in_memory)
    shared_s = table[_DECODE, -1]
    own_s = _decode_s(context, table) - shared_s
    prefill_s = prefills_s / max(tokens, float(n))
    in_pace = (pace_s - shared_s) / max(own_s + prefill_s, 1e-12)
    if in_pace >= 1.0:
        places = min(places, in_pace)
    busy = min(float(n), places)
    decode_s = shared_s + busy * own_s
    token_s = decode_s + busy * prefill_s
    if decode_s < pace_s < np.inf:
        stretch = min(pace_s / (pace_s - decode_s), _MOST_STRETCHED)
        return min(token_s, pace_s), stretch, places, in_memory
    return token_s, 1.0, places, in_memory
