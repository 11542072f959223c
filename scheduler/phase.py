"""Where a running request stands: at its prompt, or at its answer; compiled."""

from numba import njit

from scheduler.snapshot import Column

_PREFILL_LEFT, _GENERATED = int(Column.PREFILL_LEFT), int(Column.GENERATED)
_PREEMPTIONS = int(Column.PREEMPTIONS)


@njit(cache=True)
def is_prefilling(request):  # type: ignore[no-untyped-def]
    """Whether one that runs (its column of a request table) has a prompt to compute yet.

    Who put out tokens and was never preempted has not: of a cached prefix the engine computes
    less than ``prefill_left`` says.
    """
    begun = request[_GENERATED] > 0.0 and request[_PREEMPTIONS] == 0.0
    return request[_PREFILL_LEFT] > 1.0 and not begun
