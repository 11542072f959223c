"""What one more request is worth to each engine, by the digests of all; compiled."""

import math
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from predictor.distribution import LengthDistribution
from scheduler.compiled import compiled, inlined
from scheduler.placement.config import PlacementConfig
from scheduler.placement.digest import PLACES, Item
from scheduler.slo import Slo
from scheduler.slots.chance import outlook
from scheduler.slots.problem import Fact
from scheduler.snapshot import ATOMS, Floats, Ints

_LIVE, _SLOTS = int(Item.LIVE), int(Item.SLOTS)
_TOKEN_S, _SERVICE_S = int(Item.TOKEN_S), int(Item.SERVICE_S)
_PREFILL_S, _PREFILL_TOKEN_S = int(Item.PREFILL_S), int(Item.PREFILL_TOKEN_S)
_PREFILL_SQUARED_S, _PREFILL_SLOTS = int(Item.PREFILL_SQUARED_S), int(Item.PREFILL_SLOTS)
_STEP_S, _DECODE_S, _CONTEXT_S = int(Item.STEP_S), int(Item.DECODE_S), int(Item.CONTEXT_S)
_KV_FREE, _KV_USED = int(Item.KV_FREE), int(Item.KV_USED)
_PLANNED, _SLOWDOWN, _CLOSED = int(Item.PLANNED), int(Item.SLOWDOWN), int(Item.CLOSED)
_TURNS, _FEES, _TOLLS = int(Item.TURNS), int(Item.FEES), int(Item.TOLLS)
# Token times are estimates, and engines fill up: a chance is the mean over tokens so much slower.
_SLOWER = (1.0, 1.1, 1.2)


class Sent(IntEnum):
    """Columns of what was placed on an engine and is in none of its digests yet."""

    COUNT = 0
    PREFILL_S = 1  # of their prefills still to do
    HOLD_S = 2  # how long they hold slots, summed
    KV_TOKENS = 3


_COUNT, _SENT_PREFILL_S = int(Sent.COUNT), int(Sent.PREFILL_S)
_HOLD_S, _KV_TOKENS = int(Sent.HOLD_S), int(Sent.KV_TOKENS)


class Engines(NamedTuple):
    """Those a router chooses from.

    ``digests`` is float64[engines, SIZE], ``age_s`` float64[engines], ``sent``
    float64[engines, len(Sent)], ``cached`` float64[engines]: tokens of the prompt that an engine
    has in its prefix cache.
    """

    digests: Floats
    age_s: Floats
    sent: Floats
    cached: Floats


class Candidate(NamedTuple):
    """A request as a router sees it.

    ``facts`` is float64[1, len(Fact)] with its targets from now; ``atoms`` float64[1, ATOMS] its
    equally likely lengths, ascending.
    """

    prompt_tokens: float
    facts: Floats
    atoms: Floats

    @classmethod
    def of(
        cls,
        slo: Slo,
        lengths: LengthDistribution,
        *,
        prompt_tokens: float,
        waited_s: float = 0.0,
    ) -> "Candidate":
        """One that arrived ``waited_s`` ago."""
        facts = np.zeros((1, len(Fact)))
        targets = (slo.ttft_s, slo.tpot_s, slo.e2e_s)
        ttft_s, tpot_s, e2e_s = (math.inf if t is None else t for t in targets)
        facts[0, Fact.TTFT_DUE_S] = ttft_s - waited_s
        facts[0, Fact.E2E_DUE_S] = e2e_s - waited_s
        facts[0, Fact.TPOT_S] = tpot_s
        facts[0, Fact.FIRST_TOKEN_S] = math.nan
        facts[0, Fact.PROMISED] = float(not slo.empty)
        levels = (np.arange(ATOMS) + 0.5) / ATOMS
        atoms = np.asarray(lengths.quantiles(levels), dtype=np.float64)
        return cls(float(prompt_tokens), facts, atoms[None, :])

    @property
    def mean_tokens(self) -> float:
        """Expected length."""
        return float(self.atoms.mean())


@compiled
def prefill_seconds(digest: Floats, tokens: float) -> float:
    """Seconds of a prefill of so many tokens."""
    squared_s = tokens * digest[_PREFILL_SQUARED_S]
    return float(digest[_PREFILL_S] + tokens * (digest[_PREFILL_TOKEN_S] + squared_s))


@compiled
def token_seconds(digest: Floats, more: float, context: float) -> float:
    """Time between two tokens with ``more`` requests over ``context`` tokens each."""
    busy = min(digest[_LIVE], digest[_SLOTS])
    added = min(busy + more, digest[_SLOTS]) - busy
    own_s = digest[_DECODE_S] + context * digest[_CONTEXT_S]
    return float(max(digest[_TOKEN_S], digest[_STEP_S]) + added * own_s)


@compiled
def gains(
    engines: Engines,
    candidate: Candidate,
    done_worth: float,
    crowding: float,
    gain: Floats,
    wait_s: Floats,
) -> None:
    """Fill ``gain`` and ``wait_s``, float64[engines]: kept promises that the request adds to each
    engine's plan at the best place, and the time between two tokens summed over everybody there.

    An engine that admits nobody gains ``-inf``.
    """
    digests, age_s, sent, cached = engines
    prompt_tokens, facts, atoms = candidate
    mean = atoms.mean()
    context = prompt_tokens + mean / 2.0
    horizon_s = 1e-3
    for k in range(len(digests)):
        own_s = mean * token_seconds(digests[k], 1.0, context)
        horizon_s = max(horizon_s, digests[k, _SERVICE_S], own_s)
    for k in range(len(digests)):
        digest = digests[k]
        live = digest[_LIVE] + sent[k, _COUNT]
        token_s = token_seconds(digest, sent[k, _COUNT] + 1.0, context)
        prefill_s = prefill_seconds(digest, max(prompt_tokens - cached[k], 1.0))
        # What a token of it takes from everybody, and its slot's share of what a step takes anyway.
        token_slot_s = digest[_STEP_S]
        token_slot_s += digest[_SLOTS] * (digest[_DECODE_S] + context * digest[_CONTEXT_S])
        # Those sent are prefilled before it, and take the slots that come free.
        later_s = sent[k, _SENT_PREFILL_S]
        if live >= digest[_SLOTS]:
            later_s += sent[k, _HOLD_S] / digest[_SLOTS]
        later_s = max(later_s, _memory_wait(digest, sent[k, _KV_TOKENS], prompt_tokens + mean))
        slow = 0.0
        if live < digest[_SLOTS] and digest[_SERVICE_S] > 0.0:
            # Nobody waits for its slot, but everybody's tokens take longer while it is there.
            together = min(mean * token_s / digest[_SERVICE_S], 1.0)
            slow_s = together * (digest[_DECODE_S] + context * digest[_CONTEXT_S])
            held_up_s = prefill_s * digest[_PREFILL_SLOTS] / digest[_SLOTS]
            slow_s += held_up_s * digest[_TOKEN_S] / digest[_SERVICE_S]
            # No more can be lost than is there.
            slow = crowding * min(digest[_SLOWDOWN] * slow_s, digest[_PLANNED])
        best = -np.inf
        for place in range(PLACES):
            if place > 0 and _no_better(digest, place):
                continue
            begin_s = max(digest[_TURNS + place] - age_s[k], 0.0) + later_s + prefill_s
            chance, tokens = _outlook(begin_s, facts, atoms, token_s)
            cost_s = digest[_PREFILL_SLOTS] * prefill_s + tokens * token_slot_s
            worth = (chance + done_worth) * np.exp(-begin_s / horizon_s)
            best = max(best, worth - digest[_FEES + place] - digest[_TOLLS + place] * cost_s)
        gain[k] = best - slow if digest[_CLOSED] == 0.0 else -np.inf
        wait_s[k] = (live + 1.0) * token_s


@inlined
def _outlook(begin_s: float, facts: Floats, atoms: Floats, token_s: float) -> tuple[float, float]:
    """:func:`scheduler.slots.chance.outlook` of a newcomer, over what a token may take."""
    chance = tokens = 0.0
    for slower in _SLOWER:
        more_chance, more_tokens = outlook(0, begin_s, facts, atoms, slower * token_s)
        chance += more_chance / len(_SLOWER)
        tokens += more_tokens / len(_SLOWER)
    return chance, tokens


@inlined
def _no_better(digest: Floats, place: int) -> bool:
    """Whether a place is as late as the one before and costs the others no less."""
    later, before = place, place - 1
    same = digest[_TURNS + later] == digest[_TURNS + before]
    dearer = digest[_FEES + later] >= digest[_FEES + before]
    return bool(same and dearer and digest[_TOLLS + later] >= digest[_TOLLS + before])


@compiled
def _memory_wait(digest: Floats, taken: float, need: float) -> float:
    """Until memory for ``need`` tokens is free, if those who hold it end one after the other."""
    short = need + taken - digest[_KV_FREE]
    if short <= 0.0 or digest[_KV_USED] <= 0.0:
        return 0.0
    return float(digest[_SERVICE_S] * min(short / digest[_KV_USED], 2.0))


def ranked(gain: Floats, wait_s: Floats, config: PlacementConfig) -> Ints:
    """Engines, best first: among those that gain about as much as the best, the least wait."""
    good = gain >= gain.max() - config.tolerance
    order: Ints = np.lexsort((np.where(good, wait_s, -gain), ~good))
    return order
