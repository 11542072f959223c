"""How many tokens a step may compute before prefills make running answers late; compiled."""

from typing import NamedTuple

import numpy as np
from numba import njit

from scheduler.slots.config import SlotConfig
from scheduler.snapshot import Column, Snapshot

_HANDLE, _ARRIVAL_S = int(Column.HANDLE), int(Column.ARRIVAL_S)
_PROMPT_TOKENS, _PREFILL_LEFT = int(Column.PROMPT_TOKENS), int(Column.PREFILL_LEFT)
_GENERATED, _FIRST_S = int(Column.GENERATED), int(Column.FIRST_TOKEN_S)
_PREEMPTIONS = int(Column.PREEMPTIONS)
_TTFT_S, _TPOT_S, _E2E_S = int(Column.TTFT_S), int(Column.TPOT_S), int(Column.E2E_S)


class Decodes(NamedTuple):
    """The running answers: how many, their context in all, and the least slack among them.

    ``slack_s`` is the time until an answer whose promise can be kept needs its next token;
    ``inf`` if none does. ``prefills`` counts the running that are not that far yet.
    """

    answers: int
    context_tokens: float
    slack_s: float
    prefills: int


def decodes_of(snapshot: Snapshot) -> Decodes:
    """Look at everybody who runs. Cost: 30 ns each, and 10 us."""
    values = snapshot.running.values
    count, context, prefills = _counted(values)
    token_s = float(snapshot.latency.decode_s(max(count, 1), context / max(count, 1)))
    slack_s = _least_slack_s(values, snapshot.lengths.atoms, snapshot.now_s, token_s)
    return Decodes(count, context, slack_s, prefills)


def token_budget(snapshot: Snapshot, decodes: Decodes, config: SlotConfig) -> int | None:
    """Tokens of the step: a token for each answer, and the largest chunk of prompts that fits.

    The step may take the least slack, by ``chunk_margin``; ``least_chunk`` tokens are computed
    whatever it costs, so prompts always go on. ``None``: nobody is in a hurry. The sliding
    budget of QoServe (arXiv 2503.22562, section 3) with promises in place of tokens: a TPOT is
    kept over the whole answer, and who cannot keep it any more hurries nobody.
    """
    limit = snapshot.limits.max_batched_tokens
    if decodes.slack_s == np.inf:
        return None
    chunk = snapshot.latency.largest_prefill(
        decodes.slack_s / config.chunk_margin,
        decodes=decodes.answers,
        context_tokens=decodes.context_tokens,
        at_most=max(limit - decodes.answers, 0),
    )
    return min(decodes.answers + max(chunk, config.least_chunk), limit)


@njit(cache=True, inline="always")
def _prefills(request):  # type: ignore[no-untyped-def]
    """Whether it has a prompt to compute yet.

    Who put out tokens and was never preempted has not: of a cached prefix the engine computes
    less than ``prefill_left`` says.
    """
    begun = request[_GENERATED] > 0.0 and request[_PREEMPTIONS] == 0.0
    return request[_PREFILL_LEFT] > 1.0 and not begun


@njit(cache=True)
def _counted(values):  # type: ignore[no-untyped-def]
    """Answers, their context tokens, and prompts still being computed."""
    count = prefills = 0
    context = 0.0
    for i in range(values.shape[1]):
        if _prefills(values[:, i]):
            prefills += 1
        else:
            count += 1
            context += values[_PROMPT_TOKENS, i] + values[_GENERATED, i]
    return count, context, prefills


@njit(cache=True)
def _least_slack_s(values, atoms, now_s, token_s):  # type: ignore[no-untyped-def]
    least_s = np.inf
    for i in range(values.shape[1]):
        request = values[:, i]
        if _prefills(request):
            continue
        late_ttft = request[_GENERATED] > 0.0 and (
            request[_FIRST_S] > request[_ARRIVAL_S] + request[_TTFT_S]
        )
        if not late_ttft:
            shortest, mean = _remaining(atoms[int(request[_HANDLE])], request[_GENERATED])
            least_s = min(least_s, _slack_s(request, shortest, mean, now_s, token_s))
    return least_s


@njit(cache=True)
def _remaining(atoms, generated):  # type: ignore[no-untyped-def]
    """Least and mean tokens still to come, of the lengths that are left; at least one."""
    total, count, shortest = 0.0, 0, 1.0
    for a in range(atoms.shape[0] - 1, -1, -1):
        if atoms[a] <= generated:
            break
        shortest = max(atoms[a] - generated, 1.0)
        total += shortest
        count += 1
    return shortest, total / count if count else 1.0


@njit(cache=True)
def _slack_s(request, shortest, mean, now_s, token_s):  # type: ignore[no-untyped-def]
    """How long the coming step may take for the promise of one answer; ``inf`` without hope."""
    slack_s = np.inf
    if request[_TPOT_S] < np.inf and request[_GENERATED] > 0.0:
        slack_s = request[_FIRST_S] + request[_TPOT_S] * request[_GENERATED] - now_s
        # Whoever is behind catches up by what each of the tokens after the next one gains.
        if token_s - slack_s > (mean - 1.0) * max(request[_TPOT_S] - token_s, 0.0):
            return np.inf
    if request[_E2E_S] < np.inf:
        left_s = request[_ARRIVAL_S] + request[_E2E_S] - now_s
        if left_s < shortest * token_s:
            return np.inf
        slack_s = min(slack_s, max(left_s - (mean - 1.0) * token_s, 0.0))
    return max(slack_s, 0.0)
