"""Where a running request stands: at its prompt, or at its answer; compiled."""

from scheduler.compiled import compiled
from scheduler.snapshot import Column, Floats

_PREFILL_LEFT = int(Column.PREFILL_LEFT)
_GENERATED, _PREEMPTIONS = int(Column.GENERATED), int(Column.PREEMPTIONS)


@compiled
def is_prefilling(request: Floats) -> bool:
    """Whether one that runs (its column of a request table) has a prompt to compute yet.

    Who put out tokens and was never preempted has not: of a cached prefix the engine computes
    less than ``prefill_left`` says.
    """
    begun = request[_GENERATED] > 0.0 and request[_PREEMPTIONS] == 0.0
    return request[_PREFILL_LEFT] > 1.0 and not begun


def count_decodes(running: Floats) -> int:
    """How many of the running, float64[len(Column), n], have no prompt to compute."""
    return _count_decodes(running)


@compiled
def _count_decodes(running: Floats) -> int:
    decodes = 0
    for i in range(running.shape[1]):
        decodes += not is_prefilling(running[:, i])
    return decodes
