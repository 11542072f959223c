"""The chance that a request keeps its promise, and what serving it costs; compiled."""

from typing import NamedTuple

import numpy as np

from scheduler.compiled import compiled, inlined
from scheduler.slots.config import SlotConfig
from scheduler.slots.price import Demand
from scheduler.slots.problem import Fact, SlotProblem
from scheduler.snapshot import Floats

_START_S, _TTFT_DUE_S, _E2E_DUE_S = int(Fact.START_S), int(Fact.TTFT_DUE_S), int(Fact.E2E_DUE_S)
_TPOT_S, _FIRST_TOKEN_S = int(Fact.TPOT_S), int(Fact.FIRST_TOKEN_S)
_GENERATED, _PROMISED = int(Fact.GENERATED), int(Fact.PROMISED)
_TOKEN_SLOT_S, _KV_TOKENS = int(Fact.TOKEN_SLOT_S), int(Fact.KV_TOKENS)

# latest_s, low0, low1, high0, high1, cap0 and cap1 of :func:`promise_lines`.
Lines = tuple[float, float, float, float, float, float, float]


class Terms(NamedTuple):
    """What one planning problem is weighed by, as the kernels take it.

    ``prefill_slots``: slot-seconds that a second of a prefill costs; it holds up every slot,
    but not while a step that is cut short for the running decodes. ``places``: how many run at
    once. ``kv_tokens``: memory for all, ``inf`` where nobody ever has to wait for it.
    """

    running: int
    slots: int
    places: int
    kv_tokens: float
    prefill_slots: float
    token_s: float
    horizon_s: float
    done_worth: float
    preempt_cost: float
    keep: float
    price: float
    demand: Demand

    @classmethod
    def of(cls, problem: SlotProblem, config: SlotConfig, demand: Demand) -> "Terms":
        """Collect them."""
        return cls(
            running=problem.running,
            slots=problem.slots,
            places=max(int(problem.places), 1),
            kv_tokens=_memory(problem.facts, problem.running, problem.slots, problem.kv_tokens),
            prefill_slots=problem.slots / problem.stretch,
            token_s=problem.token_s,
            horizon_s=max(config.patience * problem.service_s, problem.token_s),
            done_worth=config.done_worth,
            preempt_cost=config.preempt_cost,
            keep=config.keep,
            price=demand.price,
            demand=demand,
        )


@compiled
def _memory(facts: Floats, running: int, slots: int, kv_tokens: int) -> float:
    """Tokens of memory, at least what the running hold; ``inf`` if it cannot bind."""
    total = most = held = 0.0
    for i in range(facts.shape[0]):
        tokens = facts[i, _KV_TOKENS]
        total += tokens
        most = max(most, tokens)
        held += tokens if i < running else 0.0
    if min(total, slots * most) <= kv_tokens:
        return np.inf
    return max(float(kv_tokens), held)


@inlined
def promise_lines(i: int, facts: Floats, token_s: float) -> Lines:
    """What keeps the promise if tokens flow from ``b`` on: ``b <= latest_s``, and a remaining
    length of at least ``low0 + low1 b``, at most ``high0 + high1 b`` and ``cap0 + cap1 b``.

    An end-to-end target bounds the length from above. A TPOT target binds the whole stream, so
    one that is behind (it was preempted) needs enough tokens left to catch up, and one that is
    ahead may not run out of its lead.
    """
    latest_s = facts[i, _TTFT_DUE_S] - token_s if facts[i, _PROMISED] else -np.inf
    low0, low1, high0, high1, cap0, cap1 = 0.0, 0.0, np.inf, 0.0, np.inf, 0.0
    if facts[i, _E2E_DUE_S] < np.inf:
        high0, high1 = facts[i, _E2E_DUE_S] / token_s, -1.0 / token_s
    tpot_s = facts[i, _TPOT_S]
    if tpot_s < np.inf:
        gain_s = tpot_s - token_s
        if facts[i, _GENERATED] > 0.0:
            on_time_s = facts[i, _FIRST_TOKEN_S] + tpot_s * (facts[i, _GENERATED] - 1.0)
            if gain_s > 0.0:
                low0, low1 = -on_time_s / gain_s, 1.0 / gain_s
            else:
                latest_s = min(latest_s, on_time_s)
                if gain_s < 0.0:
                    cap0, cap1 = -on_time_s / gain_s, 1.0 / gain_s
        elif gain_s < 0.0:
            cap0 = 1.0
    return latest_s, low0, low1, high0, high1, cap0, cap1


@compiled
def keeping_lengths(i: int, begin_s: float, facts: Floats, token_s: float) -> tuple[float, float]:
    """The remaining lengths, from and to, that keep the promise; ``(1, 0)`` if none does."""
    latest_s, low0, low1, high0, high1, cap0, cap1 = promise_lines(i, facts, token_s)
    if begin_s > latest_s:
        return 1.0, 0.0
    return low0 + low1 * begin_s, min(high0 + high1 * begin_s, cap0 + cap1 * begin_s)


@compiled
def outlook(
    i: int, begin_s: float, facts: Floats, atoms: Floats, token_s: float
) -> tuple[float, float]:
    """Chance to keep the promise, and mean tokens until done or until hope is lost."""
    count = atoms.shape[1]
    low, high = keeping_lengths(i, begin_s, facts, token_s)
    kept = 0
    hopeful = 0.0
    total = 0.0
    for a in range(count):
        tokens = atoms[i, a]
        total += tokens
        hopeful += min(tokens, high)
        if low <= tokens <= high:
            kept += 1
    if kept == 0:
        return 0.0, total / count
    return kept / count, hopeful / count


@compiled
def _worth(
    facts: Floats, atoms: Floats, terms: Terms, chance: Floats, cost_s: Floats, index: Floats
) -> None:
    count = atoms.shape[1]
    for i in range(facts.shape[0]):
        begin_s = facts[i, _START_S]
        fixed_s, each_s = terms.prefill_slots * begin_s, facts[i, _TOKEN_SLOT_S]
        chance[i], tokens = outlook(i, begin_s, facts, atoms, terms.token_s)
        cost_s[i] = fixed_s + tokens * each_s
        low, high = keeping_lengths(i, begin_s, facts, terms.token_s)
        reward = spent = best = 0.0
        for a in range(count):
            tokens = atoms[i, a]
            reward += terms.done_worth + (1.0 if low <= tokens <= high else 0.0)
            spent += tokens
            until = (spent + (count - 1 - a) * tokens) / count
            best = max(best, reward / count / (fixed_s + until * each_s))
        index[i] = best * (terms.keep if i < terms.running else 1.0)


def worth(problem: SlotProblem, terms: Terms) -> tuple[Floats, Floats, Floats]:
    """Chance to keep the promise from now, slot-seconds that takes, and the index of each.

    All float64[n]. The index is Gittins': the best ratio, over all times to stop, of the
    expected reward until then to the expected slot-seconds until then. Running candidates'
    are multiplied by ``keep``. Cost: 0.2 us per candidate.
    """
    chance, cost_s, index = np.empty((3, len(problem)))
    _worth(problem.facts, problem.atoms, terms, chance, cost_s, index)
    return chance, cost_s, index
