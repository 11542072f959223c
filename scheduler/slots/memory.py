"""Who may be admitted without running out of KV memory later: the forecast peak of its use."""

from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from scheduler.compiled import compiled
from scheduler.slots.problem import BLOCK_TOKENS, Fact, SlotProblem
from scheduler.snapshot import Bools, Floats, Ints

_KV_TOKENS, _TTFT_DUE_S = int(Fact.KV_TOKENS), int(Fact.TTFT_DUE_S)

# Moments of the future at which use is forecast, in tokens from now.
_MOMENTS = np.rint(np.append(0.0, 8.0 * 1.25 ** np.arange(32)))
# Forecasts for so many who turn out not to fit; the others behind them wait for the next plan.
_TRIES = 32


def held_back(
    problem: SlotProblem,
    order: Ints,
    *,
    kv_tokens: int,
    risk: float,
    gain: Floats | None = None,
    first: int = 0,
    gone: Ints | None = None,
) -> Ints:
    """The waiting, in ``order``, who must not come in yet, for want of memory.

    ``order`` are indices into the problem, like the result, which is empty where memory is
    plenty. A request at t tokens from now holds its context and t tokens more if it still runs
    then; the sum over all, at its most between each of some moments and the next, is taken as
    Gaussian and may exceed ``kv_tokens`` with the chance ``risk``.

    Who fits may pass one that does not, but may not make it wait longer: for the foremost of the
    held, and for all among the ``first`` of ``order``, memory is set aside from the moment on at
    which there will be enough. Behind the ``first``, who has a negative ``gain``, float64[n], is
    held as well: it would take memory from requests to come that gain more. ``gone`` are running
    requests that give way; they count among the waiting. With nobody running the first always
    comes in. Cost: 1.5 us for each slot, and next to nothing where even the longest answers fit.
    """
    waits = np.arange(len(problem)) >= problem.running
    if gone is not None:
        waits[gone] = True
    held = _held(
        problem.context,
        problem.atoms,
        waits,
        order,
        first,
        np.zeros(len(problem)) if gain is None else gain,
        (problem.slots, kv_tokens, float(ndtri(1.0 - risk)), _MOMENTS),
    )
    return order[held]


def fitting_now(
    problem: SlotProblem, held: Ints, *, kv_free: float, left: Floats, gain: Floats, first: Ints
) -> Ints:
    """Of the ``held``, those whose first token is still due and who fit into free memory now.

    To hold such a request back costs a TTFT. To admit it costs, if memory does run out, that a
    stream is paused and computed again, for which a TPOT leaves slack. So only its prefill is
    weighed against requests to come: it comes in if its ``gain``, float64[n], is positive. Who fits
    passes one that does not. Of the ``kv_free`` tokens, what the ``first``, int64[k], still need is
    set aside: the prompt tokens ``left``, float64[running], of those who run, and the context of
    those who are held. Cost: 2 ns for each.
    """
    return _fitting_now(held, problem.context, problem.facts, float(kv_free), left, gain, first)


def giving_way(problem: SlotProblem, order: Ints) -> tuple[Ints, Ints]:
    """The running whose memory others take, who stand before them in ``order``, and those others.

    The front of an order holds the memory, as far as it goes. The running keep what they have
    together, however much it is.
    """
    return _giving_way(order, problem.facts, problem.running, problem.slots, problem.kv_tokens)


class _Use(NamedTuple):
    """Forecast use of memory between each of the ``moments`` and the next, float64[k] each.

    ``mean`` and ``variance`` are those of all who were counted; ``own`` and ``square``, the mean
    and the mean square of one request, are room to work in.
    """

    moments: Floats
    mean: Floats
    variance: Floats
    own: Floats
    square: Floats


@compiled
def _giving_way(
    order: Ints, facts: Floats, running: int, slots: int, kv_tokens: int
) -> tuple[Ints, Ints]:
    held = 0.0
    for i in range(running):
        held += facts[i, _KV_TOKENS]
    free = max(held, float(kv_tokens))
    front = 0
    while front < min(len(order), slots) and facts[order[front], _KV_TOKENS] <= free:
        free -= facts[order[front], _KV_TOKENS]
        front += 1
    behind, ahead = order[front:], order[:front]
    return behind[behind < running], ahead[ahead >= running]


@compiled
def _fitting_now(
    held: Ints, context: Floats, facts: Floats, free: float, left: Floats, gain: Floats, first: Ints
) -> Ints:
    found = np.empty(len(held), np.int64)
    is_first = np.zeros(len(context), np.bool_)
    is_first[first] = True
    count = 0
    for i in first:
        if i < len(left):
            free -= left[i]
    for i in held:
        if is_first[i]:
            free -= context[i] + 2.0 * BLOCK_TOKENS
    for i in held:
        need = context[i] + 2.0 * BLOCK_TOKENS
        if is_first[i] or need > free or gain[i] <= 0.0 or not 0.0 < facts[i, _TTFT_DUE_S] < np.inf:
            continue
        free -= need
        found[count] = i
        count += 1
    return found[:count]


@compiled
def _held(
    context: Floats,
    atoms: Floats,
    waits: Bools,
    order: Ints,
    first: int,
    gain: Floats,
    limits: tuple[int, int, float, Floats],
) -> Bools:
    """bool[n], by place in ``order``; ``limits``: slots, memory, deviations, moments."""
    slots, kv_tokens, z, moments = limits
    held = np.zeros(len(order), np.bool_)
    if _most(context, atoms, waits, order, slots) <= kv_tokens:
        return held
    mean, variance, own, square = np.zeros((4, len(moments)))
    use = _Use(moments, mean, variance, own, square)
    free, running, tries = slots, 0, _TRIES
    for i in range(len(waits)):
        if not waits[i]:
            _add(context[i], atoms[i], use, 0)
            running += 1
    free -= running
    reserved = False
    for place, i in enumerate(order):
        if not waits[i]:
            continue
        if free < 1:
            break
        later, start = place >= first, 0
        # Where nobody runs the first comes in, whatever it takes: nobody else can make room.
        if running > 0:
            full = mean[0] + context[i] + BLOCK_TOKENS > kv_tokens
            if later and (gain[i] < 0.0 or tries < 1 or (full and reserved)):
                held[place] = True
                continue
            start = _start(context[i], atoms[i], use, kv_tokens, z)
        running += 1
        if start > 0:
            held[place] = True
            tries -= 1
            if later and reserved:
                continue
            reserved = True
        else:
            free -= 1
        _add(context[i], atoms[i], use, start)
    return held


@compiled
def _most(context: Floats, atoms: Floats, waits: Bools, order: Ints, slots: int) -> float:
    """Tokens of memory if everybody says the most that is forecast, and all at once."""
    total = 0.0
    waiting = 0
    for i in order:
        waiting += waits[i]
        if not waits[i] or waiting <= slots:
            total += context[i] + atoms[i, -1] + BLOCK_TOKENS
    return total


@compiled
def _start(context: float, atoms: Floats, use: _Use, kv_tokens: int, z: float) -> int:
    """The first moment from which on memory for a request is free; at the end in any case."""
    moments, mean, variance, own, square = use
    last = len(moments) - 1
    for start in range(last):
        _hold(context, atoms, use, start)
        fits = True
        for k in range(start, last):
            spread = variance[k] + square[k] - own[k] * own[k]
            if mean[k] + own[k] + z * np.sqrt(max(spread, 0.0)) > kv_tokens:
                fits = False
                break
        if fits:
            return start
    return last


@compiled
def _add(context: float, atoms: Floats, use: _Use, start: int) -> None:
    """Count a request that begins at one of the ``moments``."""
    _hold(context, atoms, use, start)
    moments, mean, variance, own, square = use
    for k in range(start, len(moments)):
        mean[k] += own[k]
        variance[k] += max(square[k] - own[k] * own[k], 0.0)


@compiled
def _hold(context: float, atoms: Floats, use: _Use, start: int) -> None:
    """The most that it holds between each moment and the next: mean and mean square.

    Nothing before ``start``, nor after the last moment.
    """
    moments, own, square = use.moments, use.own, use.square
    count = len(atoms)
    own[:] = square[:] = 0.0
    for k in range(start, len(moments) - 1):
        for a in range(count):
            if atoms[a] > moments[k] - moments[start]:
                tokens = context + min(atoms[a], moments[k + 1] - moments[start]) + BLOCK_TOKENS
                own[k] += tokens / count
                square[k] += tokens * tokens / count
