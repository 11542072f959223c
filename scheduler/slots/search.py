"""Simulated annealing over the order of all candidates, inside a time box."""

import time
from dataclasses import dataclass

import numpy as np
from numba import njit

from scheduler.slots.problem import SlotProblem
from scheduler.slots.walk import walk
from scheduler.snapshot import Floats, Ints


@dataclass(frozen=True, slots=True)
class SearchConfig:
    """How long and how boldly to search.

    ``time_box_s`` bounds the annealing; ``latency_weight`` is what one full horizon of waiting
    costs, in kept promises; ``preempt_cost`` is charged per running request that gives up its
    slot, in kept promises; ``heat`` is the first temperature, in kept promises.
    """

    time_box_s: float = 0.0005
    done_worth: float = 0.1
    horizon_s: float = 15.0
    preempt_cost: float = 0.05
    heat: float = 0.2
    cooling: float = 0.97
    chunk: int = 32
    seed: int = 0


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The best order found: indices into the problem, its value, and that of its best seed."""

    order: Ints
    value: float
    seed_value: float
    evaluations: int


class SlotSearch:
    """Anneals one problem after another; deterministic but for the time box."""

    def __init__(self, config: SearchConfig) -> None:
        self.config = config
        self._state = np.array([config.seed * 2 + 1], dtype=np.uint64)

    def best(self, problem: SlotProblem, seeds: list[Ints], price: float = 0.0) -> SearchResult:
        """Return the best order found from ``seeds``; never worse than the best of them."""
        config = self.config
        arrays, free_s, begins = _arrays(problem, config, price)
        values = [walk(seed, *arrays, free_s, begins) for seed in seeds]
        top = int(np.argmax(values))
        order, best_order = seeds[top].copy(), seeds[top].copy()
        value = best = seed_value = float(values[top])
        evaluations, heat = len(seeds), config.heat
        deadline_s = time.perf_counter() + config.time_box_s
        while len(order) > 1 and time.perf_counter() < deadline_s:
            value, best = _anneal(
                order, best_order, value, best, heat, config.chunk, self._state, *arrays, free_s, begins
            )
            evaluations += config.chunk
            heat *= config.cooling
        return SearchResult(best_order, best, seed_value, evaluations)


def _arrays(problem: SlotProblem, config: SearchConfig, price: float) -> tuple[tuple[object, ...], Floats, Floats]:
    mean = problem.atoms.mean(axis=1)
    arrays = (
        problem.running, problem.slots, problem.token_s, problem.atoms, mean, problem.start_s,
        problem.restart_s, problem.ttft_due_s, problem.e2e_due_s, problem.tpot_s,
        problem.first_token_s, problem.generated, config.done_worth, config.horizon_s, config.preempt_cost, price, problem.token_s,
    )
    return arrays, np.empty(problem.slots), np.empty(len(problem))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _anneal(  # type: ignore[no-untyped-def]
    order, best_order, value, best, heat, moves, state,
    running, slots, token_s, atoms, mean_tokens, start_s, restart_s,
    ttft_due_s, e2e_due_s, tpot_s, first_token_s, generated, done_worth, horizon_s, preempt_cost, price, decode_s, free_s, begins,
):
    """Try ``moves`` random swaps and insertions in place; half of them near the front."""
    n = order.shape[0]
    word = state[0]
    for _ in range(moves):
        word ^= word << np.uint64(13)
        word ^= word >> np.uint64(7)
        word ^= word << np.uint64(17)
        front = min(n, 2 * slots)
        a = int(word % np.uint64(front))
        b = int((word >> np.uint64(20)) % np.uint64(n))
        insert = (word >> np.uint64(40)) & np.uint64(1)
        if a == b:
            continue
        if insert:
            moved = order[b]
            if b > a:
                for k in range(b, a, -1):
                    order[k] = order[k - 1]
            else:
                for k in range(b, a):
                    order[k] = order[k + 1]
            order[a] = moved
        else:
            order[a], order[b] = order[b], order[a]
        new = walk(
            order, running, slots, token_s, atoms, mean_tokens, start_s, restart_s,
            ttft_due_s, e2e_due_s, tpot_s, first_token_s, generated, done_worth, horizon_s, preempt_cost, price, decode_s, free_s, begins,
        )
        u = ((word >> np.uint64(11)) & np.uint64(0xFFFFF)) / 1048576.0
        if new >= value or (heat > 1e-9 and u < np.exp((new - value) / heat)):
            value = new
            if new > best + 1e-12:
                best = new
                best_order[:] = order
        elif insert:
            moved = order[a]
            if b > a:
                for k in range(a, b):
                    order[k] = order[k + 1]
            else:
                for k in range(a, b, -1):
                    order[k] = order[k - 1]
            order[b] = moved
        else:
            order[a], order[b] = order[b], order[a]
    state[0] = word
    return value, best
