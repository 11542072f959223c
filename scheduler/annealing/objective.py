"""The objective G = n / t of an order cut into batches (arXiv 2504.14966, section 4).

In each scenario a batch of b requests begins when the one ahead has ended and ends with its
longest request; request i takes a prefill of b prompts of its length plus the decode steps of its
output. n is the mean over the scenarios of how many requests meet their SLO, so a request counts
with the share of its lengths that meet it; t is the mean sum of the end-to-end latencies.
"""

from typing import NamedTuple

import numpy as np

from scheduler.annealing.problem import AnnealProblem
from scheduler.compiled import compiled
from scheduler.latency import StepWork, work_seconds
from scheduler.snapshot import Bools, Floats, Ints

# Keeps G finite where a latency model says that nothing takes time.
_TINY_S = 1e-12


class Tables(NamedTuple):
    """Everything the search asks of a problem, by batch size, request and scenario.

    ``run_s`` float64[B, n, Q]: seconds of request i in a batch of b + 1 in scenario q.
    ``slack_s`` float64[B, n, Q]: the wait ahead of the batch under which it still meets its
    SLO; ``-inf``: none does, or nothing was promised. ``waited_s`` float64[n].
    """

    run_s: Floats
    slack_s: Floats
    waited_s: Floats
    promised: int


class State(NamedTuple):
    """An order cut into batches, with the objective's sums up to each cut.

    ``order`` int64[n]; ``starts`` bool[n] marks the first position of each batch. At each
    start (and at n): ``wait_s`` float64[n + 1, Q], the time of all batches ahead; ``met``
    and ``latency_s`` float64[n + 1], sums over the requests ahead.
    """

    order: Ints
    starts: Bools
    wait_s: Floats
    met: Floats
    latency_s: Floats


def new_tables(problem: AnnealProblem) -> Tables:
    """Compute the tables; O(B n Q)."""
    # Fresh arrays of one kind whatever the caller has: another kind would be compiled anew.
    requests = np.stack(
        (
            problem.prompt_tokens,
            problem.waited_s,
            problem.ttft_s,
            problem.tpot_s,
            problem.e2e_s,
        )
    )
    outputs = np.array(problem.output_tokens, order="C")
    shape = (min(problem.max_batch, len(problem)), *outputs.shape)
    run_s, slack_s = np.empty(shape), np.empty(shape)
    latency = problem.latency.table
    promised = _fill_tables(requests, outputs, latency, run_s, slack_s)
    return Tables(run_s, slack_s, requests[1], promised)


def new_state(requests: int, scenarios: int) -> State:
    """Return room for a state; the sums ahead of position 0 are zero already."""
    return State(
        order=np.arange(requests),
        starts=np.ones(requests, dtype=np.bool_),
        wait_s=np.zeros((requests + 1, scenarios)),
        met=np.zeros(requests + 1),
        latency_s=np.zeros(requests + 1),
    )


def value_of(problem: AnnealProblem, order: Ints, batch_sizes: Ints) -> float:
    """G of one order and its cuts, in promises kept per second of latency."""
    if not len(problem):
        return 0.0
    state = new_state(*problem.output_tokens.shape)
    state.order[:] = order
    state.starts[:] = False
    state.starts[np.cumsum(batch_sizes) - batch_sizes] = True
    return evaluate(new_tables(problem), state, 0)


@compiled
def evaluate(tables: Tables, state: State, first: int) -> float:
    """Return G after bringing the sums up to date from the batch starting at ``first`` on."""
    run_s, slack_s, waited_s = tables.run_s, tables.slack_s, tables.waited_s
    order, starts, wait_s = state.order, state.starts, state.wait_s
    n, scenarios = order.shape[0], run_s.shape[2]
    start = first
    while start < n:
        end = start + 1
        while end < n and not starts[end]:
            end += 1
        size = end - start - 1
        met = 0
        latency = 0.0
        for q in range(scenarios):
            ahead = wait_s[start, q]
            longest = total = 0.0
            for position in range(start, end):
                request = order[position]
                run = run_s[size, request, q]
                met += ahead <= slack_s[size, request, q]
                total += run
                longest = max(longest, run)
            latency += total + ahead * (end - start)
            wait_s[end, q] = ahead + longest
        state.met[end] = state.met[start] + met / scenarios
        waited = 0.0
        for position in range(start, end):
            waited += waited_s[order[position]]
        state.latency_s[end] = state.latency_s[start] + latency / scenarios + waited
        start = end
    return float(state.met[n]) / max(float(state.latency_s[n]), _TINY_S)


@compiled
def _fill_tables(
    requests: Floats, outputs: Floats, table: Floats, run_s: Floats, slack_s: Floats
) -> int:
    """Fill both tables and return how many requests were promised something.

    ``requests`` float64[5, n]: prompt tokens, waited, TTFT, TPOT, e2e; ``table`` float64[3, 8]
    of :class:`scheduler.latency.StepLatency`.
    """
    prompts, waited_s = requests[0], requests[1]
    ttft_s, tpot_s, e2e_s = requests[2], requests[3], requests[4]
    promised = 0
    for i in range(outputs.shape[0]):
        has_promise = min(ttft_s[i], tpot_s[i], e2e_s[i]) < np.inf
        promised += has_promise
        for size in range(run_s.shape[0]):
            b = size + 1.0
            tokens = b * prompts[i]
            squares = tokens * prompts[i]
            prefill = work_seconds(table, StepWork(0.0, squares, 0.0, 0.0, 0.0, tokens, prompts[i]))
            for q in range(outputs.shape[1]):
                answer = outputs[i, q]
                context = prompts[i] + (answer - 1.0) / 2.0
                token_s = work_seconds(table, StepWork(0.0, 0.0, 0.0, b, b * context, 0.0, 0.0))
                run = prefill + answer * token_s
                run_s[size, i, q] = run
                slack = min(e2e_s[i] - run, ttft_s[i] - prefill) - waited_s[i]
                kept = has_promise and token_s <= tpot_s[i]
                slack_s[size, i, q] = slack if kept else -np.inf
    return promised
