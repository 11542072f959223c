"""The prompts that the coming step could compute, and how long each can wait; compiled."""

from typing import NamedTuple

import numpy as np

from scheduler.compiled import compiled
from scheduler.latency import Scenario, StepWork
from scheduler.phase import is_prefilling
from scheduler.slots.answers import remaining
from scheduler.snapshot import Column, Floats, Ints, Snapshot

_HANDLE, _ARRIVAL_S = int(Column.HANDLE), int(Column.ARRIVAL_S)
_PROMPT_TOKENS, _PREFILL_LEFT = int(Column.PROMPT_TOKENS), int(Column.PREFILL_LEFT)
_GENERATED, _FIRST_S = int(Column.GENERATED), int(Column.FIRST_TOKEN_S)
_LAST_TOKEN_S = int(Column.LAST_TOKEN_S)
# Terms of the step latency that grow with a chunk.
_PRODUCTS = StepWork._fields.index("products")
_TOKENS, _LONGEST = StepWork._fields.index("prefill_tokens"), StepWork._fields.index("longest")
_PREFILL = int(Scenario.PREFILL)
_TTFT_S, _TPOT_S, _E2E_S = int(Column.TTFT_S), int(Column.TPOT_S), int(Column.E2E_S)


class Prompts(NamedTuple):
    """Those that have begun, the first ``begun`` of n, and those that wait.

    ``handle`` is int64[n]; ``left`` and ``cached``, float64[n], tokens to compute and computed;
    ``work``, float64[n], as many tokens over an empty cache as take as long as those that are left;
    ``slack_s``, float64[n], until it has to be computed (< 0: its promise is lost; inf: nothing
    was promised that computing it sooner could keep). ``answers``, int64[d], are the handles of
    the running whose prompts are computed.
    """

    begun: int
    handle: Ints
    left: Floats
    cached: Floats
    work: Floats
    slack_s: Floats
    answers: Ints


def prompts_of(
    snapshot: Snapshot,
    *,
    waiting: bool,
    token_s: float,
    pace_s: float,
    silence_s: float = np.inf,
) -> Prompts:
    """Read a snapshot, without ``waiting`` the running alone.

    Between two tokens of an answer are ``token_s`` at best, and ``pace_s`` of late.

    A first token is due by TTFT. Of an end-to-end promise the tokens to come take their time: as
    many as are expected, or where that is too late the fewest that are likely. Whoever was
    preempted in mid-answer has to be back while it can still catch up on its TPOT, and whatever its
    SLO before it was silent for ``silence_s``. Cost: 10 us, and 60 ns for each request.
    """
    others = snapshot.waiting.values
    return Prompts(
        *_read(
            snapshot.running.values,
            others if waiting else others[:, :0],
            snapshot.lengths.atoms,
            snapshot.latency.table[_PREFILL],
            (snapshot.now_s, token_s, pace_s),
            silence_s,
        )
    )


@compiled
def _read(
    running: Floats,
    waiting: Floats,
    atoms: Floats,
    prefill: Floats,
    pace: tuple[float, float, float],
    silence_s: float,
) -> tuple[int, Ints, Floats, Floats, Floats, Floats, Ints]:
    now_s, token_s, pace_s = pace
    size, n = running.shape[1], waiting.shape[1]
    handle, answers = np.empty(size + n, np.int64), np.empty(size, np.int64)
    left, cached, slack_s = np.empty(size + n), np.empty(size + n), np.empty(size + n)
    count = decodes = 0
    for i in range(size + n):
        request = running[:, i] if i < size else waiting[:, i - size]
        number = int(request[_HANDLE])
        if i < size and not is_prefilling(request):
            answers[decodes] = number
            decodes += 1
            continue
        known = request[_PROMPT_TOKENS] + request[_GENERATED]
        handle[count], left[count] = number, max(request[_PREFILL_LEFT], 1.0)
        cached[count] = max(known - request[_PREFILL_LEFT], 0.0) if i < size else 0.0
        slack_s[count] = _slack_s(request, atoms[number], now_s, token_s, pace_s)
        if request[_GENERATED] > 0.0 and not np.isnan(request[_LAST_TOKEN_S]):
            # However late it is, one that was silent for too long is not given up.
            left_s = max(request[_LAST_TOKEN_S] + silence_s - now_s, 0.0)
            slack_s[count] = min(slack_s[count], left_s) if slack_s[count] >= 0.0 else left_s
        count += 1
    begun = size - decodes
    left, cached = left[:count], cached[:count]
    work = work_of(left, cached, prefill)
    return begun, handle[:count], left, cached, work, slack_s[:count], answers[:decodes]


@compiled
def work_of(left: Floats, cached: Floats, prefill: Floats) -> Floats:
    """Tokens over an empty cache that take as long as ``left`` over ``cached``, float64[n] each.

    Attention makes a token slower the more are cached before it. ``prefill`` is the row of
    ``StepLatency.table`` for prefills.
    """
    token_s = prefill[_TOKENS] + prefill[_LONGEST]
    if token_s <= 0.0:
        return left.copy()
    slower = float(prefill[_PRODUCTS] / token_s)
    return left * (1.0 + slower * (cached + left / 2.0))


@compiled
def _slack_s(request: Floats, atoms: Floats, now_s: float, token_s: float, pace_s: float) -> float:
    generated, slack_s = request[_GENERATED], np.inf
    due_s = request[_ARRIVAL_S] + request[_TTFT_S] - now_s
    if generated == 0.0:
        slack_s = due_s
    elif request[_FIRST_S] - now_s > due_s:
        return -1.0
    if request[_E2E_S] == np.inf and (generated == 0.0 or request[_TPOT_S] == np.inf):
        return slack_s
    least, mean, _ = remaining(atoms, generated)
    if generated > 0.0 and request[_TPOT_S] < np.inf:
        behind_s = now_s - request[_FIRST_S] - request[_TPOT_S] * generated
        gain_s = (mean - 1.0) * max(request[_TPOT_S] - token_s, 0.0)
        slack_s = min(slack_s, gain_s - behind_s)
    if request[_E2E_S] < np.inf:
        end_s = request[_ARRIVAL_S] + request[_E2E_S] - now_s
        expected_s = end_s - (mean - 1.0) * pace_s
        slack_s = min(slack_s, expected_s if expected_s > 0.0 else end_s - (least - 1.0) * token_s)
    return slack_s
