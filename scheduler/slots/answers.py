"""The answers that are running, and what the time of a step may cost their promises; compiled."""

from typing import NamedTuple

import numpy as np

from scheduler.compiled import compiled
from scheduler.phase import is_prefilling
from scheduler.snapshot import Column, Floats, Snapshot

_HANDLE, _ARRIVAL_S = int(Column.HANDLE), int(Column.ARRIVAL_S)
_PROMPT_TOKENS, _GENERATED = int(Column.PROMPT_TOKENS), int(Column.GENERATED)
_FIRST_S = int(Column.FIRST_TOKEN_S)
_TTFT_S, _TPOT_S, _E2E_S = int(Column.TTFT_S), int(Column.TPOT_S), int(Column.E2E_S)


class Answers(NamedTuple):
    """Those that decode: how many, their context in all, and the time between two tokens.

    ``token_s`` is that of steps without prompts, ``pace_s`` that of their steps so far.

    ``slack_s`` is float64[k], of those whose promise can be kept: so long may the coming step
    take without any harm. ``lost_s``, float64[k], is how long it has to take for the promise to
    be lost for certain; in between the chance is taken to rise evenly. Steps after it may take
    ``every_s``, float64[k], each without using up slack: the TPOT, or the pace so far. Of such
    steps ``tokens_left``, float64[k], are expected. ``bound_s``: how long steps may take in the
    long run, by the tightest of their TPOTs and the least slack; ``inf`` without any.
    """

    decodes: float
    context_tokens: float
    token_s: float
    pace_s: float
    bound_s: float
    slack_s: Floats
    lost_s: Floats
    every_s: Floats
    tokens_left: Floats


def answers_of(snapshot: Snapshot, *, catch_up: float) -> Answers:
    """Look at everybody who runs.

    A TPOT is kept over the whole answer: who is behind makes up for it later, by what each token
    to come gains at the recent pace; the share ``catch_up`` of that may be spent. Of an end-to-end
    promise the longest answer that is still likely leaves some slack, and the shortest more. Who
    cannot keep its promise any more loses nothing. Cost: 30 ns each, and 10 us.
    """
    values = snapshot.running.values
    count, context, pace_s = _counted(values, snapshot.now_s)
    token_s = float(snapshot.latency.decode_s(max(count, 1.0), context / max(count, 1.0)))
    pace_s = max(pace_s, token_s)
    slack_s, lost_s, every_s, tokens_left, tpot_s = _slack_s(
        values, snapshot.lengths.atoms, snapshot.now_s, token_s, pace_s, catch_up
    )
    bound_s = max(float(slack_s.min(initial=np.inf)), tpot_s)
    return Answers(count, context, token_s, pace_s, bound_s, slack_s, lost_s, every_s, tokens_left)


@compiled
def _counted(values: Floats, now_s: float) -> tuple[float, float, float]:
    """Answers, their context tokens, and the time between two of their tokens so far."""
    count = context = spent_s = gaps = 0.0
    for i in range(values.shape[1]):
        if not is_prefilling(values[:, i]):
            count += 1.0
            context += values[_PROMPT_TOKENS, i] + values[_GENERATED, i]
            if values[_GENERATED, i] > 0.0:
                spent_s += now_s - values[_FIRST_S, i]
                gaps += values[_GENERATED, i]
    return count, context, spent_s / max(gaps, 1.0)


@compiled
def _slack_s(
    values: Floats, atoms: Floats, now_s: float, token_s: float, pace_s: float, catch_up: float
) -> tuple[Floats, Floats, Floats, Floats, float]:
    n = values.shape[1]
    slack_s, lost_s, every_s, tokens_left = np.empty((4, n))
    count, tightest_s = 0, np.inf
    for i in range(n):
        request = values[:, i]
        if is_prefilling(request):
            continue
        late_ttft = request[_GENERATED] > 0.0 and (
            request[_FIRST_S] > request[_ARRIVAL_S] + request[_TTFT_S]
        )
        if late_ttft:
            continue
        slack, lost, every = np.inf, np.inf, pace_s
        least, mean, most = remaining(atoms[int(request[_HANDLE])], request[_GENERATED])
        if request[_TPOT_S] < np.inf and request[_GENERATED] > 0.0:
            slack = request[_FIRST_S] + request[_TPOT_S] * request[_GENERATED] - now_s
            # What each of the tokens after the next one gains.
            sure = slack + (mean - 1.0) * max(request[_TPOT_S] - token_s, 0.0)
            gain_s = catch_up * max(request[_TPOT_S] - pace_s, 0.0)
            lost = max(slack + (mean - 1.0) * gain_s, min(sure, token_s))
            every = request[_TPOT_S]
        if request[_E2E_S] < np.inf:
            left_s = request[_ARRIVAL_S] + request[_E2E_S] - now_s
            if left_s - (most - 1.0) * pace_s < slack:
                slack, every = left_s - (most - 1.0) * pace_s, pace_s
            lost = min(lost, left_s - (least - 1.0) * token_s)
        # A step that only decodes is no choice: who is lost by that is lost.
        if token_s <= lost < np.inf:
            slack_s[count], lost_s[count] = max(min(slack, lost), token_s), lost
            every_s[count], tokens_left[count] = every, mean
            count += 1
            tightest_s = min(tightest_s, request[_TPOT_S])
    return slack_s[:count], lost_s[:count], every_s[:count], tokens_left[:count], tightest_s


@compiled
def remaining(atoms: Floats, generated: float) -> tuple[float, float, float]:
    """Least, mean and most tokens still to come, of the lengths that are left; at least one."""
    total, count, shortest = 0.0, 0, 1.0
    for a in range(atoms.shape[0] - 1, -1, -1):
        if atoms[a] <= generated:
            break
        shortest = max(atoms[a] - generated, 1.0)
        total += shortest
        count += 1
    longest = max(atoms[-1] - generated, 1.0)
    return shortest, total / count if count else 1.0, longest
