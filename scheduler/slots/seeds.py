"""The orders from which the search starts."""

import numpy as np
from numba import njit

from scheduler.slots.problem import SlotProblem
from scheduler.slots.walk import chance
from scheduler.snapshot import Floats, Ints


def worth(problem: SlotProblem) -> tuple[Floats, Floats]:
    """float64[n] twice: chance to keep the promise when started now, and seconds it would take."""
    n = len(problem)
    met, cost_s = np.empty(n), np.empty(n)
    _worth(
        problem.running, problem.token_s, problem.atoms, problem.start_s, problem.ttft_due_s,
        problem.e2e_due_s, problem.tpot_s, problem.first_token_s, problem.generated, met, cost_s,
    )
    return met, cost_s


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _worth(running, token_s, atoms, start_s, ttft_due_s, e2e_due_s, tpot_s, first_token_s, generated, met, cost_s):  # type: ignore[no-untyped-def]
    for i in range(start_s.shape[0]):
        met[i], tokens = chance(
            i, start_s[i], token_s, atoms, ttft_due_s, e2e_due_s, tpot_s, first_token_s, generated
        )
        cost_s[i] = start_s[i] + tokens * token_s
    return


def density(met: Floats, cost_s: Floats, done_worth: float) -> Ints:
    """Most promises kept per second of a slot first; hopeless ones last, shortest first."""
    return np.argsort(-(met + done_worth) / cost_s, kind="stable")


@njit(cache=True, nogil=True)
def gittins(running, token_s, atoms, start_s, ttft_due_s, e2e_due_s, tpot_s, first_token_s, generated, done_worth, keep, stall, out):
    Q = atoms.shape[1]
    for i in range(start_s.shape[0]):
        low, high = 0.0, np.inf
        begin_s = start_s[i]
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
        best = 0.0
        reward = 0.0
        spent = 0.0
        for a in range(Q):
            v = atoms[i, a]
            reward += done_worth
            if alive and low <= v <= high:
                reward += 1.0
            # E[min(R, v)] = (sum_{b<=a} atoms + (Q-1-a) v)/Q
            spent += v
            cost = stall * start_s[i] + token_s * (spent + (Q - 1 - a) * v) / Q
            r = reward / Q / cost
            if r > best:
                best = r
        if i < running:
            best *= keep
        out[i] = best
