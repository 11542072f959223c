"""The published search: two starts, three moves, falling temperature; compiled."""

import time
from dataclasses import dataclass

import numpy as np
from numba import njit

from scheduler.annealing.config import AnnealConfig
from scheduler.annealing.objective import evaluate
from scheduler.annealing.problem import BatchProblem
from scheduler.snapshot import Floats, Ints

# dG counts in thousandths of the start's G, so that the published temperatures mean something.
_RELATIVE_SCALE = 1000.0


@dataclass(frozen=True, slots=True)
class AnnealResult:
    """The best plan: order int64[n], batch sizes, its G, that of the best start, and the effort."""

    order: Ints
    sizes: Ints
    value: float
    seed_value: float
    evaluations: int
    elapsed_s: float


def anneal(problem: BatchProblem, config: AnnealConfig | None = None) -> AnnealResult:
    """Search a plan; never worse than its best start, and anytime.

    Starts: arrival order, and ascending expected latency. One descent is 63 temperatures of
    100 moves as published, a few ms for 100 requests; further descents begin where the last
    one ended or at the best plan. Raises ``ValueError`` for an empty problem.
    """
    config = config or AnnealConfig()
    n = len(problem)
    if n == 0:
        raise ValueError("nothing to plan: the problem holds no request")
    began_s = time.perf_counter()
    arrays = problem.arrays()
    sizes, batches = _full_batches(n, problem.max_batch)
    starts = (np.arange(n), np.argsort(_expected_s(problem), kind="stable"))
    scored = [evaluate(start, sizes, batches, *arrays) for start in starts]
    done = config.early_exit and scored[1][1] >= n
    top = 1 if done or scored[1][0] >= scored[0][0] else 0
    seed_value = float(scored[top][0])
    state = _State(starts[top].copy(), sizes, batches, seed_value)
    evaluations = 2
    if not done and n > 1:
        scale = _RELATIVE_SCALE / max(seed_value, 1e-12) if config.normalise else 1.0
        evaluations += _descend(problem, config, state, scale, began_s + config.time_box_s)
    return AnnealResult(
        order=state.best_order,
        sizes=state.best_sizes[: int(state.counts[1])].copy(),
        value=float(state.values[1]),
        seed_value=seed_value,
        evaluations=evaluations,
        elapsed_s=time.perf_counter() - began_s,
    )


def warm_up() -> None:
    """Compile the kernels (seconds the first time); never on the step path."""
    latency = np.array([1e-4, 0.0, 0.0, 1e-2, 0.0, 1e-3, 0.0, 1e-2])
    ones = np.ones(3)
    problem = BatchProblem(ones, np.ones((3, 2)), ones, ones, ones, 1e-3 * ones, 2, latency)
    anneal(problem, AnnealConfig(restarts=1))


class _State:
    """Where a search is and the best it has seen; arrays that the kernel changes in place."""

    def __init__(self, order: Ints, sizes: Ints, batches: int, value: float) -> None:
        self.order, self.best_order = order, order.copy()
        self.sizes, self.best_sizes = sizes, sizes.copy()
        self.counts = np.array([batches, batches])
        self.values = np.array([value, value])

    def return_to_best(self) -> None:
        self.order[:] = self.best_order
        self.sizes[:] = self.best_sizes
        self.counts[0] = self.counts[1]
        self.values[0] = self.values[1]


def _descend(
    problem: BatchProblem, config: AnnealConfig, state: _State, scale: float, deadline_s: float
) -> int:
    """Descend from hot to cold, again and again; returns the evaluations made.

    The published decay needs 63 temperatures. When the first one shows that the time box
    does not hold ``descents`` times as many, the steps down are made larger.
    """
    word = np.array([2 * config.seed + 1], dtype=np.uint64)
    arrays, evaluations, decay = problem.arrays(), 0, config.decay
    for descent in range(config.restarts):
        temperature = config.start_temperature
        while temperature >= config.end_temperature:
            began_s = time.perf_counter()
            if began_s >= deadline_s:
                return evaluations
            _try_moves(
                state.order, state.sizes, state.best_order, state.best_sizes, state.counts,
                state.values, scale / temperature, config.moves, config.insert,
                problem.max_batch, word, arrays,
            )  # fmt: skip
            if evaluations == 0 and config.time_box_s < np.inf:
                spent_s = time.perf_counter() - began_s
                decay = config.affordable_decay((deadline_s - began_s) / spent_s)
            evaluations += config.moves
            temperature *= decay
        if descent % 2:  # every other descent walks on from where the last one ended
            state.return_to_best()
    return evaluations


def _full_batches(n: int, max_batch: int) -> tuple[Ints, int]:
    """Batch sizes int64[n] (zero beyond the count), each full but the last."""
    batches = -(-n // max_batch)
    sizes = np.zeros(n, dtype=np.int64)
    sizes[:batches] = max_batch
    sizes[batches - 1] = n - max_batch * (batches - 1)
    return sizes, batches


def _expected_s(problem: BatchProblem) -> Floats:
    """Expected latency of each request served at once in a full batch."""
    a1, a2, a3, a4, d1, d2, d3, d4 = problem.coefficients
    b = problem.max_batch
    tokens, prompt = problem.atoms, problem.prompt_tokens
    slope = d1 * b + d3
    decode_s = tokens * (d2 * b + d4 + slope * (prompt[:, None] + (tokens - 1) / 2))
    expected: Floats = (a1 * b + a3) * prompt + a2 * b + a4 + decode_s.mean(axis=1)
    return expected


@njit(cache=True, nogil=True)
def _place(order, source, target):  # type: ignore[no-untyped-def]
    """Take the request at ``source`` out and put it in at ``target``."""
    moved = order[source]
    step = 1 if source < target else -1
    for k in range(source, target, step):
        order[k] = order[k + step]
    order[target] = moved


@njit(cache=True, nogil=True)
def _drop_empty(sizes, batches):  # type: ignore[no-untyped-def]
    """Close the gap that an emptied batch leaves; returns the batches left."""
    kept = 0
    for k in range(batches):
        if sizes[k] > 0:
            sizes[kept] = sizes[k]
            kept += 1
    for k in range(kept, batches):
        sizes[k] = 0
    return kept


@njit(cache=True, nogil=True)
def _squeeze(order, sizes, batches, batch, first, place, max_batch):  # type: ignore[no-untyped-def]
    """Move a request into the batch before its own; returns the batches then, 0 if it cannot."""
    if batch == 0 or sizes[batch - 1] >= max_batch:
        return 0
    _place(order, place, first)
    sizes[batch - 1] += 1
    sizes[batch] -= 1
    return _drop_empty(sizes, batches)


@njit(cache=True, nogil=True)
def _delay(order, sizes, batches, batch, first, place, max_batch):  # type: ignore[no-untyped-def]
    """Move a request into the batch after its own, a new one behind the last."""
    last = batch == batches - 1
    if (last and sizes[batch] == 1) or (not last and sizes[batch + 1] >= max_batch):
        return 0
    _place(order, place, first + sizes[batch] - 1)
    sizes[batch] -= 1
    sizes[batch + 1] += 1
    return batches + 1 if last else _drop_empty(sizes, batches)


@njit(cache=True, nogil=True)
def _propose(order, sizes, batches, kinds, max_batch, draw):  # type: ignore[no-untyped-def]
    """Change the plan by one random move; returns the batches it has then, or 0 for no move."""
    n = order.shape[0]
    kind = draw % np.uint64(kinds)
    a = int((draw >> np.uint64(8)) % np.uint64(n))
    b = int((draw >> np.uint64(28)) % np.uint64(n))
    if kind == 0 or kind == 3:  # noqa: PLR1714 - numba builds no set here
        if a == b:
            return 0
        if kind == 0:
            order[a], order[b] = order[b], order[a]
        else:
            _place(order, a, b)
        return batches
    batch, first = 0, 0
    while first + sizes[batch] <= a:
        first += sizes[batch]
        batch += 1
    if kind == 1:
        return _squeeze(order, sizes, batches, batch, first, a, max_batch)
    return _delay(order, sizes, batches, batch, first, a, max_batch)


@njit(cache=True, nogil=True)
def _try_moves(  # type: ignore[no-untyped-def]
    order, sizes, best_order, best_sizes, counts, values, sharpness, moves, insert, max_batch,
    word, arrays,
):  # fmt: skip
    """Try so many moves at one temperature; ``counts`` and ``values`` are (now, best)."""
    state = word[0]
    kinds = 4 if insert else 3
    old_order, old_sizes = order.copy(), sizes.copy()
    for _ in range(moves):
        state ^= state << np.uint64(13)
        state ^= state >> np.uint64(7)
        state ^= state << np.uint64(17)
        batches = _propose(order, sizes, counts[0], kinds, max_batch, state >> np.uint64(3))
        if batches == 0:
            continue
        value, _kept = evaluate(order, sizes, batches, *arrays)
        uniform = ((state >> np.uint64(44)) & np.uint64(0xFFFFF)) / 1048576.0
        if value > values[0] or uniform < np.exp((value - values[0]) * sharpness):
            values[0], counts[0] = value, batches
            old_order[:], old_sizes[:] = order, sizes
            if value > values[1]:
                values[1], counts[1] = value, batches
                best_order[:], best_sizes[:] = order, sizes
        else:
            order[:], sizes[:] = old_order, old_sizes
    word[0] = state
