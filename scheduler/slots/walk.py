"""What an order of candidates is worth: a walk through the slots, compiled."""

import numpy as np
from numba import njit

# mypy cannot see through numba's decorator; the typed wrappers are in search.py.


@njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator]
def chance(i, begin_s, token_s, atoms, ttft_due_s, e2e_due_s, tpot_s, first_token_s, generated):  # type: ignore[no-untyped-def]
    """Chance to keep the promise, and expected tokens until done or given up, from ``begin_s``."""
    count = atoms.shape[1]
    low, high = 0.0, np.inf
    alive = begin_s + token_s <= ttft_due_s[i]
    if alive and e2e_due_s[i] < np.inf:
        high = (e2e_due_s[i] - begin_s) / token_s
        alive = high >= 1.0
    if alive and tpot_s[i] < np.inf:
        gain = tpot_s[i] - token_s
        if generated[i] > 0:
            debt = begin_s - first_token_s[i] - tpot_s[i] * (generated[i] - 1.0)
            if gain > 0.0:
                low = max(low, debt / gain)
            elif debt > 0.0:
                alive = False
            elif gain < 0.0:
                high = min(high, -debt / -gain)
        elif gain < 0.0:
            high = 1.0
    met = 0
    tokens = 0.0
    if not alive:
        for a in range(count):
            tokens += atoms[i, a]
        return 0.0, tokens / count
    for a in range(count):
        value = atoms[i, a]
        if low <= value <= high:
            met += 1
        tokens += value if value < high else high
    if met == 0:
        tokens = 0.0
        for a in range(count):
            tokens += atoms[i, a]
    return met / count, tokens / count


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def walk(  # type: ignore[no-untyped-def]
    order, running, slots, token_s, atoms, mean_tokens, start_s, restart_s,
    ttft_due_s, e2e_due_s, tpot_s, first_token_s, generated, done_worth, horizon_s, preempt_cost, price, decode_s, free_s, begins,
):
    """Value of an order: expected promises kept, less weighted latency and preemptions.

    Each candidate takes the slot that comes free first; ``free_s`` (float64[slots]) is a heap
    of those times. A running candidate that does not get a slot at once has to be prefilled
    again, which holds up everyone after it. Cost: O(n (log slots + ATOMS)).
    """
    for s in range(slots):
        free_s[s] = 0.0
    stall_s = 0.0
    value = 0.0
    for position in range(order.shape[0]):
        i = order[position]
        free = free_s[0]
        if i < running and position < slots:
            begin_s = start_s[i]
        elif i < running:
            stall_s += restart_s[i]
            value -= preempt_cost
            begin_s = free + stall_s + restart_s[i]
        else:
            begin_s = free + stall_s + start_s[i]
        met, tokens = chance(
            i, begin_s, token_s, atoms, ttft_due_s, e2e_due_s, tpot_s, first_token_s, generated
        )
        begins[position] = begin_s
        cost_s = slots * start_s[i] + tokens * decode_s
        value += (met - min(price * cost_s, met if met > 0 else 1e9) * 0.0 + done_worth) * np.exp(-begin_s / horizon_s) - price * cost_s * np.exp(-begin_s / horizon_s)
        end_s = begin_s - stall_s + tokens * token_s
        # Replace the root of the heap and sift it down.
        at = 0
        while True:
            child = 2 * at + 1
            if child >= slots:
                break
            if child + 1 < slots and free_s[child + 1] < free_s[child]:
                child += 1
            if free_s[child] >= end_s:
                break
            free_s[at] = free_s[child]
            at = child
        free_s[at] = end_s
    return value
