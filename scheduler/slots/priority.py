"""Priorities of single requests: a lower number is served earlier, as in vLLM.

The plan decides by value within one number. Requests that say nothing have the number 0.
"""

import numpy as np

from scheduler.decision import no_handles
from scheduler.snapshot import Floats, Ints, RequestTable


def by_priority(order: Ints, priority: Floats, *, running: int, slots: int) -> Ints:
    """``order`` with nobody who waits behind a waiting request of a higher number.

    ``order`` are candidates, the first ``running`` of which hold slots; the first ``slots`` places
    get one. Waiting requests swap places with each other only, and no running request gives its
    slot to a higher number. Cost: 1 us where all numbers are equal.
    """
    if len(order) < 2 or priority.min() == priority.max():
        return order
    sorted_once = _waiting_sorted(order, priority, running)
    return _waiting_sorted(_slots_kept(sorted_once, priority, running, slots), priority, running)


def later_priorities(waiting: RequestTable, held: Ints, overdue: Ints) -> Ints:
    """Handles of waiting requests that must not begin in a step: a lower number can begin.

    Those ``held`` back cannot begin; those ``overdue`` may, whatever their number.
    """
    priority = waiting.priority
    if len(priority) < 2 or priority.min() == priority.max():
        return no_handles()
    handle = waiting.handle
    can_begin = ~np.isin(handle, held)
    if not can_begin.any():
        return no_handles()
    later = can_begin & (priority > priority[can_begin].min())
    return np.asarray(handle[later & ~np.isin(handle, overdue)])


def _waiting_sorted(order: Ints, priority: Floats, running: int) -> Ints:
    places = np.flatnonzero(order >= running)
    waiting = order[places]
    found = order.copy()
    found[places] = waiting[np.argsort(priority[waiting], kind="stable")]
    return found


def _slots_kept(order: Ints, priority: Floats, running: int, slots: int) -> Ints:
    """Give running requests their slots back from waiting ones of a higher number."""
    found = order.copy()
    for place in np.flatnonzero(order < running):
        if place < slots:
            continue
        front = np.flatnonzero(found[:slots] >= running)
        takers = front[priority[found[front]] > priority[found[place]]]
        if len(takers):
            last = takers[-1]
            found[last], found[place] = found[place], found[last]
    return found
