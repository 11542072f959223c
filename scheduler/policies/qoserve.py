"""Policies ``qoserve`` and ``qoserve+predicted``: Niyama, also known as QoServe (arXiv 2503.22562).

Three parts. *Hybrid priority*: the TTFT deadline plus ``alpha_s`` for each prompt token left.
*Dynamic chunking*: the step's token budget is the largest that leaves every running stream its
next token in time. *Eager relegation*: a prefill that cannot finish in time any more, at the
recent prefill throughput, stands behind all others. Priority and relegation choose anew in each
step among the prefills that have begun and those that wait.

Constants are those of the published code (a fork of Sarathi-Serve's scheduler), and so is the
floor of 128 tokens a step: without it one late stream keeps everybody out until it ends. Unlike
there, tokens of a stream are due from its first token on, as TPOT is measured; chunks are exact to
the token instead of from a list; and a relegated prefill returns when the engine turns out faster.
The largest chunk, 2,552 there, is the engine's limit, or the limit in the name: ``qoserve@256``.
"""

from dataclasses import dataclass

import numpy as np

from scheduler.compiled import compiled
from scheduler.decision import Plan, StepDecision
from scheduler.lengths import expected_remaining
from scheduler.phase import is_prefilling
from scheduler.policies.ordered import full_batch_token_s
from scheduler.policies.prefill_turns import prefills_of, step_in_order
from scheduler.policies.throughput import PrefillThroughput
from scheduler.snapshot import Column, Floats, Ints, RequestTable, Snapshot

_ARRIVAL_S = int(Column.ARRIVAL_S)
_PROMPT_TOKENS, _PREFILL_LEFT = int(Column.PROMPT_TOKENS), int(Column.PREFILL_LEFT)
_GENERATED, _FIRST_S = int(Column.GENERATED), int(Column.FIRST_TOKEN_S)
_TTFT_S, _TPOT_S, _E2E_S = int(Column.TTFT_S), int(Column.TPOT_S), int(Column.E2E_S)


@dataclass(frozen=True, slots=True)
class QoServeConfig:
    """The published constants.

    ``alpha_s``: seconds by which a prompt token left puts a request back. ``expected_tokens``:
    the output assumed of every request. ``margin``: predicted step times are taken so many times
    as long. ``tokens_per_s``, ``decay``: the prefill throughput at the start, and its weight
    against a new observation. ``least_tokens``: budget of a step, decodes included, however
    little slack there is.
    """

    alpha_s: float = 0.008
    expected_tokens: float = 150.0
    margin: float = 1.2
    tokens_per_s: float = 8500.0
    decay: float = 0.995
    least_tokens: int = 128


class QoServePolicy:
    """Answers anew before each step; ``predicted`` reads output lengths from the forecasts.

    Cost of a step: about 25 us with 150 waiting and 16 running, 60 us when ``predicted``.
    """

    def __init__(self, config: QoServeConfig | None = None, *, predicted: bool = False) -> None:
        self.name = "qoserve+predicted" if predicted else "qoserve"
        self._config = config or QoServeConfig()
        self._predicted = predicted
        self._throughput = PrefillThroughput(
            tokens_per_s=self._config.tokens_per_s, decay=self._config.decay
        )

    def plan(self, snapshot: Snapshot, previous: Plan | None) -> Plan | None:  # noqa: ARG002
        """Have no plan: slack changes with every token."""
        return None

    def step(self, snapshot: Snapshot, plan: Plan | None) -> StepDecision:  # noqa: ARG002
        """Order begun and waiting prefills, relegate the late, and size the chunk."""
        self._throughput.observe(snapshot)
        prefills, token_s = prefills_of(snapshot), full_batch_token_s(snapshot)
        order, served = _ranked(
            prefills.values,
            self._remaining(RequestTable(prefills.values), snapshot),
            token_s,
            snapshot.now_s,
            self._throughput.tokens_per_s,
            self._config.alpha_s,
        )
        return step_in_order(
            snapshot,
            prefills,
            order,
            budget=self._token_budget(snapshot, token_s),
            relegated=order[served:],
        )

    def _token_budget(self, snapshot: Snapshot, token_s: float) -> int:
        """Tokens for the decodes and the largest prefill chunk that keeps them all in time."""
        running, limit = snapshot.running, snapshot.limits.max_batched_tokens
        decodes, context_tokens, slack_s = _decoding(
            running.values, self._remaining(running, snapshot), token_s, snapshot.now_s
        )
        chunk = snapshot.latency.largest_prefill(
            slack_s / self._config.margin,
            decodes=decodes,
            context_tokens=context_tokens,
            at_most=max(limit - decodes, 0),
        )
        return min(max(int(decodes) + chunk, self._config.least_tokens), limit)

    def _remaining(self, table: RequestTable, snapshot: Snapshot) -> Floats:
        """Tokens each is expected to put out yet, float64[n], at least one."""
        if self._predicted:
            return expected_remaining(table, snapshot.lengths)
        return np.maximum(self._config.expected_tokens - table.generated, 1.0)


@compiled
def _ranked(
    values: Floats,
    remaining: Floats,
    token_s: float,
    now_s: float,
    tokens_per_s: float,
    alpha_s: float,
) -> tuple[Ints, int]:
    """Places of the prefills, first served first, and how many of them are not relegated."""
    n = values.shape[1]
    key, late = np.empty(n), np.zeros(n, dtype=np.bool_)
    for i in range(n):
        left_s = values[_PREFILL_LEFT, i] / tokens_per_s
        first_due_s, due_s = _due_s(values[:, i], remaining[i], token_s)
        key[i] = due_s + alpha_s * values[_PREFILL_LEFT, i]
        late[i] = now_s + left_s > first_due_s
    order = np.argsort(key, kind="mergesort")
    return np.concatenate((order[~late[order]], order[late[order]])), n - late.sum()


@compiled
def _due_s(request: Floats, remaining: float, token_s: float) -> tuple[float, float]:
    """When its first token is due, and the next one; ``inf`` without such a promise.

    An end-to-end promise alone is one on the first token as well: the last one less the time of
    the others. A preempted stream has had its first token, and is due with its next.
    """
    e2e_due_s = request[_ARRIVAL_S] + request[_E2E_S] - token_s * remaining
    if request[_TTFT_S] == np.inf:
        return e2e_due_s, e2e_due_s
    if request[_GENERATED] == 0.0:
        due_s = request[_ARRIVAL_S] + request[_TTFT_S]
        return due_s, due_s
    return np.inf, min(_next_due_s(request, remaining, token_s), e2e_due_s)


@compiled
def _next_due_s(request: Floats, remaining: float, token_s: float) -> float:
    """When the next token of a stream is due; ``inf`` if no promise says so.

    By TPOT the target apart from the first on; of an end-to-end promise the tokens still
    expected stand before the deadline, ``token_s`` apart.
    """
    due_s = request[_ARRIVAL_S] + request[_E2E_S] - token_s * (remaining - 1.0)
    if request[_GENERATED] > 0.0 and request[_TPOT_S] < np.inf:
        due_s = min(due_s, request[_FIRST_S] + request[_TPOT_S] * request[_GENERATED])
    return float(due_s)


@compiled
def _decoding(
    values: Floats, remaining: Floats, token_s: float, now_s: float
) -> tuple[int, float, float]:
    """How many decode, their context in all, and the least time until a next token is due."""
    decodes, context, slack_s = 0, 0.0, np.inf
    for i in range(values.shape[1]):
        if not is_prefilling(values[:, i]):
            decodes += 1
            context += values[_PROMPT_TOKENS, i] + values[_GENERATED, i]
            due_s = _next_due_s(values[:, i], remaining[i], token_s)
            slack_s = min(slack_s, due_s - now_s)
    return decodes, context, slack_s
