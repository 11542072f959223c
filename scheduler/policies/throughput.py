"""How fast an engine has prefilled lately, read from one snapshot after the other."""

import numpy as np

from scheduler.compiled import compiled
from scheduler.snapshot import Column, Floats, Snapshot

_HANDLE, _ARRIVAL_S = int(Column.HANDLE), int(Column.ARRIVAL_S)
_PREFILL_LEFT = int(Column.PREFILL_LEFT)


class PrefillThroughput:
    """Prompt tokens per second as a moving average over the steps that prefilled.

    A step's rate is what disappeared from ``prefill_left`` since the snapshot before, over the
    time between the two, the decodes of that step included. A request that ended within the
    step cannot be seen any more and is not counted; neither is a single token, which is a decode.
    """

    def __init__(self, *, tokens_per_s: float, decay: float) -> None:
        self.tokens_per_s = tokens_per_s
        self._decay = decay
        self._now_s = np.inf
        # By handle: whose it was (its arrival), and how much it had left.
        self._arrival_s = np.full(0, np.nan)
        self._left = np.zeros(0)

    def observe(self, snapshot: Snapshot) -> None:
        """Take in what came after the snapshot before. Cost: 1 us with 150 waiting."""
        missing = len(snapshot.lengths.edges) - len(self._left)
        if missing > 0:
            self._arrival_s = np.concatenate([self._arrival_s, np.full(missing, np.nan)])
            self._left = np.concatenate([self._left, np.zeros(missing)])
        done = _note(snapshot.running.values, self._arrival_s, self._left)
        _note(snapshot.waiting.values, self._arrival_s, self._left)
        spent_s, self._now_s = snapshot.now_s - self._now_s, snapshot.now_s
        if done > 0 and spent_s > 0:
            self.tokens_per_s += (1 - self._decay) * (done / spent_s - self.tokens_per_s)


@compiled
def _note(values: Floats, arrival_s: Floats, left: Floats) -> float:
    """Write down who has how much left; returns how much less that is than before, in all."""
    done = 0.0
    for i in range(values.shape[1]):
        handle = int(values[_HANDLE, i])
        less = left[handle] - values[_PREFILL_LEFT, i]
        if arrival_s[handle] == values[_ARRIVAL_S, i] and less > 1.0:
            done += less
        arrival_s[handle] = values[_ARRIVAL_S, i]
        left[handle] = values[_PREFILL_LEFT, i]
    return done
