"""Policy ``past-future``: LightLLM's KV admission (Past-Future scheduler, arXiv 2507.10150)."""

from collections import deque
from dataclasses import dataclass

import numpy as np

from scheduler.compiled import compiled
from scheduler.decision import Plan, StepDecision
from scheduler.snapshot import Column, Floats, RequestTable, Snapshot

_HANDLE, _ARRIVAL_S, _GENERATED = int(Column.HANDLE), int(Column.ARRIVAL_S), int(Column.GENERATED)


@dataclass(frozen=True, slots=True)
class PastFutureConfig:
    """``window``: recent answers whose lengths are drawn from. ``least_history``: with fewer of
    them every answer is taken to be as long as it may be. ``draws``: futures that all have to
    fit. ``share``: of the KV memory that may be planned for.
    """

    window: int = 1000
    least_history: int = 16
    draws: int = 4
    share: float = 1.0
    seed: int = 0


class PastFuturePolicy:
    """Serves in arrival order and admits only who fits the peak memory of a sampled future.

    Each answer's length is drawn from recent answers longer than it is so far; while answers
    grow, the peak is reached when one of them ends. From the first waiting request on that would
    push a peak beyond the memory, the waiting are held. Which answers ended is read from one
    snapshot after the other. Cost: 60 us with 64 running and 64 admissible.
    """

    name = "past-future"

    def __init__(self, config: PastFutureConfig | None = None) -> None:
        self._config = config or PastFutureConfig()
        self._recent: deque[float] = deque(maxlen=self._config.window)
        # By handle: whose it is (its arrival, nan: nobody's), and how many tokens were out.
        self._arrival_s = np.full(0, np.nan)
        self._generated = np.zeros(0)

    def plan(self, snapshot: Snapshot, previous: Plan | None) -> Plan | None:  # noqa: ARG002
        """Have no plan: answers grow with every step."""
        return None

    def step(self, snapshot: Snapshot, plan: Plan | None) -> StepDecision:  # noqa: ARG002
        """Keep arrival order; hold back from the first that does not fit."""
        self._learn(snapshot)
        running, waiting = snapshot.running, snapshot.waiting
        free = snapshot.limits.max_num_seqs - len(running)
        admitted = min(free, len(waiting))
        if admitted > 0:
            rng = np.random.default_rng((self._config.seed, snapshot.version))
            memory = self._config.share * snapshot.limits.kv_tokens
            history = np.sort(np.array(self._recent))
            if len(history) < self._config.least_history:
                history = history[:0]
            for _ in range(self._config.draws):
                held, rest = _held_and_rest(running, history, rng)
                new, tail = _held_and_rest(waiting, history, rng)
                fits = _fitting(held, rest, new[:admitted], tail[:admitted], memory)
                admitted = min(admitted, fits)
            # Alone on the engine anybody is let in: no wait would make it fit.
            admitted = max(admitted, 0 if len(running) else 1)
        handles = waiting.handle
        held_back = handles[admitted:] if admitted < free else handles[:0]
        return StepDecision(order=handles, held=held_back, stands=False)

    def _learn(self, snapshot: Snapshot) -> None:
        """Who is gone has ended; its last token came after it was seen last."""
        missing = len(snapshot.lengths.edges) - len(self._generated)
        if missing > 0:
            self._arrival_s = np.concatenate([self._arrival_s, np.full(missing, np.nan)])
            self._generated = np.concatenate([self._generated, np.zeros(missing)])
        ended = _ended(
            snapshot.running.values, snapshot.waiting.values, self._arrival_s, self._generated
        )
        self._recent.extend((ended + 1.0).tolist())


@compiled
def _ended(running: Floats, waiting: Floats, arrival_s: Floats, generated: Floats) -> Floats:
    """Tokens of those who were noted before and are gone; notes who is there now."""
    here = np.zeros(len(arrival_s), np.bool_)
    for values in (running, waiting):
        for i in range(values.shape[1]):
            handle = int(values[_HANDLE, i])
            here[handle] = arrival_s[handle] == values[_ARRIVAL_S, i]
    gone = generated[~here & (generated > 0.0)]
    arrival_s[~here] = np.nan
    generated[~here] = 0.0
    for values in (running, waiting):
        for i in range(values.shape[1]):
            handle = int(values[_HANDLE, i])
            arrival_s[handle] = values[_ARRIVAL_S, i]
            generated[handle] = values[_GENERATED, i]
    return gone


def _held_and_rest(
    table: RequestTable, history: Floats, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """KV tokens each holds once its prompt is computed, and tokens it still puts out by a draw."""
    generated, most = table.generated, table.values[Column.MAX_TOKENS]
    length = most.copy()
    if len(history):
        above = np.searchsorted(history, generated, side="right")
        count = len(history) - above
        place = above + np.minimum((rng.random(len(table)) * count).astype(np.int64), count - 1)
        length = np.where(count > 0, history[np.maximum(place, 0)], most)
    rest = np.maximum(np.minimum(length, most) - generated, 1.0)
    return table.prompt_tokens + generated, rest


@compiled
def _fitting(held: Floats, rest: Floats, new: Floats, tail: Floats, memory: float) -> int:
    """How many of the new, in order, keep the peak within ``memory``."""
    for count in range(1, len(new) + 1):
        now = np.concatenate((held, new[:count]))
        left = np.concatenate((rest, tail[:count]))
        if _peak(now, left) > memory:
            return count - 1
    return len(new)


@compiled
def _peak(held: Floats, rest: Floats) -> float:
    """Most memory of the future: just before the k-th last ends, k of them have grown as much."""
    most = total = 0.0
    for place, i in enumerate(np.argsort(-rest, kind="mergesort")):
        total += held[i]
        most = max(most, total + (place + 1) * rest[i])
    return most
