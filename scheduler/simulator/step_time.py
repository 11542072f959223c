"""How long a simulated step takes: linear fits and measured tables behind one compiled function."""

from typing import NamedTuple, Self

import numpy as np

from scheduler.compiled import compiled
from scheduler.latency import StepLatency, StepWork, work_seconds
from scheduler.snapshot import Floats, Ints


class Attention(NamedTuple):
    """Measured attention, seconds a step for all layers, on a full grid.

    ``seconds`` is float64[chunk, cached, decodes, context] over the four axes: prefill tokens of
    the step, tokens cached before them, decoding sequences, and cached tokens of each.
    ``skew`` is float64[chunk, decodes, rate, longest, cached], on the bounds of the same name
    (right ends, inclusive): how far a batch of unequal decodes lies between the time at their
    mean context (0) and at their longest (1).
    """

    seconds: Floats
    chunk: Floats
    cached: Floats
    decodes: Floats
    context: Floats
    skew: Floats
    skew_chunk: Floats
    skew_decodes: Floats
    skew_rate: Floats
    skew_longest: Floats
    skew_cached: Floats


class StepTime(NamedTuple):
    """Seconds of one engine step, the sum of three parts; any may be zero.

    ``linear``, float64[3, 8]: the ``table`` of :class:`scheduler.latency.StepLatency`.
    ``by_tokens`` and ``by_sequences``:
    float64[n + 1], seconds by the tokens and by the sequences of the step, extended linearly.
    """

    linear: Floats
    by_tokens: Floats
    by_sequences: Floats
    attention: Attention

    @classmethod
    def of_latency(cls, latency: StepLatency) -> Self:
        """A step time that follows the linear model exactly."""
        return cls(latency.table.copy(), np.zeros(2), np.zeros(2), no_attention())

    def seconds(self, chunks: Ints, cached: Ints) -> float:
        """Seconds of a step that gives ``chunks[i]`` tokens to sequence i over ``cached[i]``.

        A chunk of one token counts as a decode. int64[n] each; O(n), under 1 us for a few.
        """
        return _of_batch(chunks, cached, self)

    def seconds_of(
        self, prefills: int, prefill_tokens: int, decodes: int, context: int, cached: int = 0
    ) -> float:
        """Seconds of a step of equal chunks over ``cached`` tokens and decodes of equal context."""
        work = StepWork.alike(
            prefills=prefills,
            prefill_tokens=prefill_tokens,
            decodes=decodes,
            context_tokens=decodes * context,
            cached=cached,
        )
        return batch_seconds(prefills, StepWork(*map(float, work)), context, context, self)


def no_attention() -> Attention:
    """An attention table that is zero everywhere."""
    axis, bound = np.array([0.0, 1.0]), np.array([np.inf])
    zeros, skew = np.zeros((2, 2, 2, 2)), np.zeros((1, 1, 1, 1, 1))
    return Attention(zeros, axis, axis, axis, axis, skew, bound, bound, bound, bound, bound)


@compiled
def batch_seconds(
    prefills: int, work: StepWork, shortest: float, longest: float, model: StepTime
) -> float:
    """Seconds of a step of so many ``prefills``.

    ``shortest``, ``longest``: cached tokens of the decodes at the extremes.
    """
    decodes, chunk = work.decodes, work.prefill_tokens
    seconds = _line(model.by_tokens, int(chunk + decodes))
    seconds += _line(model.by_sequences, int(prefills + decodes))
    seconds += work_seconds(model.linear, work)
    # Causal attention: a token sees those before it.
    seen, context = work.products + 0.5 * work.squares, work.decode_cached
    return seconds + _attention_s(chunk, seen, decodes, context, shortest, longest, model.attention)


@compiled
def _of_batch(chunks: Ints, cached: Ints, model: StepTime) -> float:
    prefills = chunk = decodes = context = longest = cached_prefills = longest_chunk = 0
    products = squares = 0.0
    shortest = 1 << 60
    for i in range(len(chunks)):
        if chunks[i] > 1:
            prefills += 1
            chunk += chunks[i]
            products += chunks[i] * cached[i]
            squares += chunks[i] * chunks[i]
            cached_prefills += cached[i]
            longest_chunk = max(longest_chunk, chunks[i])
        elif chunks[i] == 1:
            decodes += 1
            context += cached[i]
            shortest, longest = min(shortest, cached[i]), max(longest, cached[i])
    work = StepWork(products, squares, cached_prefills, decodes, context, chunk, longest_chunk)
    return batch_seconds(prefills, work, shortest, longest, model)


@compiled
def _line(table: Floats, at: int) -> float:
    """A table by whole numbers, extended linearly; zero at zero."""
    if at <= 0:
        return 0.0
    last = len(table) - 1
    if at <= last:
        return float(table[at])
    return float(table[last] + (at - last) * (table[last] - table[last - 1]))


@compiled
def _attention_s(
    chunk: float,
    work: float,
    decodes: float,
    context: float,
    shortest: float,
    longest: float,
    table: Attention,
) -> float:
    """Attention of a step; several prefills count as the one prefill of the same work."""
    if len(table.chunk) <= 2 and table.seconds[1, 1, 1, 1] == 0.0:
        return 0.0
    rows, cached = float(chunk), 0.0
    if chunk > 0:
        cached = work / rows - rows / 2.0
        if cached < 0.0:
            rows, cached = np.sqrt(2.0 * work), 0.0
    mean = context / decodes if decodes > 0 else 0.0
    seconds = _interpolate(table, rows, cached, decodes, mean)
    if decodes > 1 and longest > shortest:
        rate = (mean - shortest) / (longest - shortest)
        skew = table.skew[
            _nearest(table.skew_chunk, rows),
            _bucket(table.skew_decodes, decodes),
            _bucket(table.skew_rate, rate),
            _bucket(table.skew_longest, longest),
            _bucket(table.skew_cached, cached),
        ]
        if skew != 0.0:
            at_longest = _interpolate(table, rows, cached, decodes, float(longest))
            seconds += skew * (at_longest - seconds)
    return max(seconds, 0.0)


@compiled
def _bucket(bounds: Floats, value: float) -> int:
    """The first bound that is not exceeded; the last one above all of them."""
    for k in range(len(bounds)):
        if value <= bounds[k]:
            return k
    return len(bounds) - 1


@compiled
def _nearest(values: Floats, value: float) -> int:
    best = 0
    for k in range(1, len(values)):
        if abs(values[k] - value) < abs(values[best] - value):
            best = k
    return best


@compiled
def _bracket(axis: Floats, value: float) -> tuple[int, float]:
    """The left end of the interval to interpolate in, and where in it; outside, the end one."""
    low = 0
    while low < len(axis) - 2 and axis[low + 1] <= value:
        low += 1
    return low, (value - axis[low]) / (axis[low + 1] - axis[low])


@compiled
def _interpolate(
    table: Attention, chunk: float, cached: float, decodes: float, context: float
) -> float:
    """Linear on each of the four axes, extended linearly outside."""
    i, a = _bracket(table.chunk, chunk)
    j, b = _bracket(table.cached, cached)
    k, c = _bracket(table.decodes, decodes)
    m, d = _bracket(table.context, context)
    total = 0.0
    for corner in range(16):
        p, q, r, s = corner & 1, corner >> 1 & 1, corner >> 2 & 1, corner >> 3 & 1
        weight = (a if p else 1.0 - a) * (b if q else 1.0 - b)
        weight *= (c if r else 1.0 - c) * (d if s else 1.0 - d)
        if weight != 0.0:
            total += weight * table.seconds[i + p, j + q, k + r, m + s]
    return total
