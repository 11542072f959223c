"""What an engine makes of a token budget, and how long that takes; compiled.

Each decode gets its token, then prompts take what is left in the order given; the last one may be
cut. A prompt that gets one token counts as a decode, as in :class:`scheduler.latency.StepWork`.
"""

from typing import NamedTuple

from scheduler.compiled import compiled
from scheduler.latency import StepWork, work_seconds
from scheduler.snapshot import Floats, Ints


class StepLoad(NamedTuple):
    """What competes for a step: decodes over ``context`` tokens in all, and prefills.

    ``table`` is that of :class:`scheduler.latency.StepLatency`. Each prefill has ``left`` tokens to
    compute over ``cached`` ones, float64[n] each.
    """

    table: Floats
    decodes: float
    context: float
    left: Floats
    cached: Floats


@compiled
def step_seconds(load: StepLoad, order: Ints, done: float, tokens: float) -> float:
    """Seconds of a step of all decodes, and so many tokens for prefills in ``order``.

    ``done`` tokens of the prompts, in this order, were computed in the step before. Cost: 5 ns
    for each prompt that gets something.
    """
    decodes, context, left, cached = load.decodes, load.context, load.left, load.cached
    products = squares = prefill_cached = chunk_tokens = longest = 0.0
    for i in order:
        if tokens <= 0.0:
            break
        before = min(done, left[i])
        done -= before
        chunk = min(left[i] - before, tokens)
        if chunk <= 0.0:
            continue
        tokens -= chunk
        seen = cached[i] + before
        if chunk > 1.0:
            products += chunk * seen
            squares += chunk * chunk
            prefill_cached += seen
            chunk_tokens += chunk
            longest = max(longest, chunk)
        else:
            decodes += 1.0
            context += seen
    work = StepWork(products, squares, prefill_cached, decodes, context, chunk_tokens, longest)
    return work_seconds(load.table, work)


@compiled
def largest_budget(load: StepLoad, order: Ints, done: float, bound_s: float, most: int) -> int:
    """Most tokens for prompts, 0..``most``, with which the step takes ``bound_s`` at most.

    A bisection; where the model falls between one token and two, or by scenario, what it finds
    still fits. -1 if the decodes alone do not fit.
    """
    if step_seconds(load, order, done, 0.0) > bound_s:
        return -1
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if step_seconds(load, order, done, float(middle)) <= bound_s:
            low = middle
        else:
            high = middle - 1
    return low
