"""Who may be admitted without running out of KV memory later: the forecast peak of its use."""

import numpy as np
from numba import njit
from scipy.special import ndtri

from scheduler.slots.problem import SlotProblem
from scheduler.snapshot import Ints

# Moments of the future at which use is forecast, in tokens from now, and what a request may
# hold beyond its tokens because memory comes in blocks.
_MOMENTS = np.rint(np.append(0.0, 8.0 * 1.25 ** np.arange(32)))
_BLOCK_TOKENS = 16


def held_back(problem: SlotProblem, order: Ints, *, kv_tokens: int, risk: float) -> Ints:
    """The waiting, in ``order``, from the first on who would make memory run out.

    ``order`` are indices into the problem, like the answer, which is empty where memory is
    plenty. A request at t tokens from now holds its context and t tokens more if it still runs
    then; the sum over all, at its most between each of some moments and the next, is taken as
    Gaussian and may exceed ``kv_tokens`` with the chance ``risk``. With nobody running the
    first always comes in.
    Cost: 1.5 us for each slot, and next to nothing where even the longest answers fit.
    """
    waiting = order[order >= problem.running]
    # Nobody behind the last slot can come in before somebody ends, and then the plan is new.
    next_in = waiting[: problem.slots]
    z = float(ndtri(1.0 - risk))
    count = _admitted(
        problem.context, problem.atoms, problem.running, next_in, kv_tokens, z, _MOMENTS
    )
    return waiting[count:] if count < len(next_in) else waiting[:0]


@njit(cache=True)
def _admitted(context, atoms, running, waiting, kv_tokens, z, moments):  # type: ignore[no-untyped-def]
    if _most(context, atoms, running, waiting) <= kv_tokens:
        return len(waiting)
    mean, variance = np.zeros(len(moments)), np.zeros(len(moments))
    for i in range(running):
        _hold(i, context, atoms, moments, mean, variance)
    for count, i in enumerate(waiting):
        _hold(i, context, atoms, moments, mean, variance)
        if (mean + z * np.sqrt(variance)).max() > kv_tokens and running + count > 0:
            return count
    return len(waiting)


@njit(cache=True)
def _most(context, atoms, running, waiting):  # type: ignore[no-untyped-def]
    """Tokens of memory if everybody says the most that is forecast, and all at once."""
    total = 0.0
    for i in range(running):
        total += context[i] + atoms[i, -1] + _BLOCK_TOKENS
    for i in waiting:
        total += context[i] + atoms[i, -1] + _BLOCK_TOKENS
    return total


@njit(cache=True)
def _hold(i, context, atoms, moments, mean, variance):  # type: ignore[no-untyped-def]
    """Add the most that one request will hold between each moment and the next."""
    count = atoms.shape[1]
    for k in range(len(moments) - 1):
        total = squares = 0.0
        for a in range(count):
            if atoms[i, a] > moments[k]:
                tokens = context[i] + min(atoms[i, a], moments[k + 1]) + _BLOCK_TOKENS
                total += tokens / count
                squares += tokens * tokens / count
        mean[k] += total
        variance[k] += squares - total * total
