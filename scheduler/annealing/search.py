"""Simulated annealing over orders and batch cuts (arXiv 2504.14966, section 5), compiled.

The box on its time is kept inside the kernel, which reads the monotonic clock every 16 moves.
"""

import time
from math import isinf
from typing import NamedTuple

import numpy as np

from scheduler.annealing.clock import now_ns
from scheduler.annealing.config import AnnealConfig
from scheduler.annealing.draws import Words, unit
from scheduler.annealing.moves import random_move
from scheduler.annealing.objective import State, Tables, evaluate, new_state, new_tables
from scheduler.annealing.problem import AnnealProblem
from scheduler.annealing.result import AnnealResult
from scheduler.compiled import compiled
from scheduler.snapshot import Ints

_MOVES_PER_CLOCK = 16
# With normalised temperatures a change of G counts in thousandths.
_PARTS = 1000.0


class _Rules(NamedTuple):
    """:class:`AnnealConfig` and what bounds one search; ``limit``: requests in a batch."""

    limit: int
    t_start: float
    t_min: float
    decay: float
    moves: int
    rounds: int
    normalise: bool
    extended: bool
    early_exit: bool
    deadline_ns: int
    max_evaluations: int


def anneal(problem: AnnealProblem, config: AnnealConfig | None = None) -> AnnealResult:
    """Return the best order and cuts found, never worse than the better start.

    Cost: at most ``config.time_box_s``, plus building the tables, O(batch size * n * Q).
    """
    config = config or AnnealConfig()
    started_ns = time.monotonic_ns()
    n, scenarios = problem.output_tokens.shape
    if not n:
        nobody = np.empty(0, dtype=np.int64)
        return AnnealResult(nobody, nobody, 0.0, 0.0, 0, 0.0)
    best = new_state(n, scenarios)
    value, seed_value, evaluations, exited_early = _search(
        new_tables(problem),
        new_state(n, scenarios),
        new_state(n, scenarios),
        best,
        _rules(problem, config, _deadline_ns(started_ns, config.time_box_s)),
        np.array([config.seed % 2**64], dtype=np.uint64),
    )
    return AnnealResult(
        order=best.order,
        batch_sizes=_sizes(np.flatnonzero(best.starts), n),
        value=value,
        seed_value=seed_value,
        evaluations=evaluations,
        elapsed_s=(time.monotonic_ns() - started_ns) * 1e-9,
        exited_early=exited_early,
    )


def _rules(problem: AnnealProblem, config: AnnealConfig, deadline_ns: int) -> _Rules:
    largest = np.iinfo(np.int64).max
    return _Rules(
        limit=problem.max_batch,
        t_start=float(config.t_start),
        t_min=float(config.t_min),
        decay=float(config.decay),
        moves=config.moves_per_temperature,
        rounds=config.rounds,
        normalise=config.normalise,
        extended=config.extended_moves,
        early_exit=config.early_exit,
        deadline_ns=deadline_ns,
        max_evaluations=largest if config.max_evaluations is None else config.max_evaluations,
    )


def _deadline_ns(started_ns: int, time_box_s: float) -> int:
    return np.iinfo(np.int64).max if isinf(time_box_s) else started_ns + int(time_box_s * 1e9)


def _sizes(starts: Ints, requests: int) -> Ints:
    return np.diff(starts, append=requests)


@compiled
def _search(
    tables: Tables, state: State, trial: State, best: State, rules: _Rules, rng: Words
) -> tuple[float, float, int, bool]:
    n, limit, extended = state.order.shape[0], rules.limit, rules.extended
    value, met_all = _begin(tables, state, trial, limit)
    seed_value = best_value = value
    _copy(best, state, 0)
    evaluations = 2
    if n == 1 or (rules.early_exit and met_all):
        return best_value, seed_value, evaluations, met_all
    clock = np.empty(2, dtype=np.int64)
    ticks = 0
    for _ in range(rules.rounds):
        _copy(state, best, 0)
        _copy(trial, best, 0)
        value = best_value
        scale = 1.0
        if rules.normalise:
            scale = _PARTS / max(value, 1.0 / float(state.latency_s[n]))
        temperature = rules.t_start
        while temperature >= rules.t_min:
            for _ in range(rules.moves):
                ticks += 1
                if ticks % _MOVES_PER_CLOCK == 0 and now_ns(clock) >= rules.deadline_ns:
                    return best_value, seed_value, evaluations, False
                first = random_move(trial.order, trial.starts, limit, extended, rng)
                if first < 0:
                    continue
                if evaluations >= rules.max_evaluations:
                    return best_value, seed_value, evaluations, False
                evaluations += 1
                changed = evaluate(tables, trial, first)
                gain = (changed - value) * scale
                if gain >= 0.0 or unit(rng) < np.exp(gain / temperature):
                    value = changed
                    _copy(state, trial, first)
                    if value > best_value:
                        best_value = value
                        _copy(best, state, 0)
                else:
                    _copy(trial, state, first)
            temperature *= rules.decay
    return best_value, seed_value, evaluations, False


@compiled
def _begin(tables: Tables, state: State, trial: State, limit: int) -> tuple[float, bool]:
    """Put the start to anneal from into ``state``; return its G and whether it meets all SLOs.

    Ascending predicted latency if that meets them all, else the better of it and arrival order.
    """
    n = state.order.shape[0]
    largest = tables.run_s.shape[0] - 1
    expected = np.zeros(n)
    for q in range(tables.run_s.shape[2]):
        expected += tables.run_s[largest, :, q]
    _lay_out(state, np.argsort(expected, kind="mergesort"), limit)
    value = evaluate(tables, state, 0)
    if state.met[n] >= tables.promised - 1e-9:
        return value, True
    _lay_out(trial, np.argsort(-tables.waited_s, kind="mergesort"), limit)
    arrival_value = evaluate(tables, trial, 0)
    if arrival_value > value:
        _copy(state, trial, 0)
        value = arrival_value
    return value, False


@compiled
def _lay_out(state: State, order: Ints, limit: int) -> None:
    """Cut ``order`` into full batches."""
    for position in range(order.shape[0]):
        state.order[position] = order[position]
        state.starts[position] = position % limit == 0


@compiled
def _copy(to: State, of: State, first: int) -> None:
    """Copy a state from the batch starting at ``first`` on, where both agree before it."""
    n = to.order.shape[0]
    for position in range(first, n):
        to.order[position] = of.order[position]
        to.starts[position] = of.starts[position]
        to.met[position + 1] = of.met[position + 1]
        to.latency_s[position + 1] = of.latency_s[position + 1]
        for q in range(to.wait_s.shape[1]):
            to.wait_s[position + 1, q] = of.wait_s[position + 1, q]
