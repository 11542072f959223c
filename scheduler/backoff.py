"""How much of the queue a policy is shown, and when it rests, by whether it kept its time box."""

from dataclasses import dataclass, field

# A policy sees so many of the waiting at most, or so many times the slots where that is more.
MOST_SHOWN = 2048
_ROUNDS = 4
# However slow the machine: what a policy is shown at least.
LEAST_SHOWN = 128
# Steps of rest after overruns in a row: 0, 0, 1, 3, 7, ... up to this many. A busy machine makes
# any policy late now and then, and no rest helps against that.
_LONGEST_REST = 63
# After so many steps in time a policy is shown a quarter more; each overrun doubles that.
_PATIENCE, _LONGEST_PATIENCE = 64, 4096


@dataclass(slots=True)
class Backoff:
    """After an overrun a policy is shown half as much; after several in a row it rests as well.

    ``shown`` is the most requests that the policy is shown of the waiting.
    """

    most: int
    shown: int
    _overruns: int = field(default=0, init=False)
    _rest: int = field(default=0, init=False)
    _in_time: int = field(default=0, init=False)
    _patience: int = field(default=_PATIENCE, init=False)

    @classmethod
    def of(cls, *, slots: int) -> "Backoff":
        """For an engine of so many slots."""
        most = max(MOST_SHOWN, _ROUNDS * slots)
        return cls(most, most)

    def rests(self) -> bool:
        """Whether the policy is not asked in this step."""
        if not self._rest:
            return False
        self._rest -= 1
        return True

    def overran(self, seen: int) -> None:
        """Take note that a step with so many of the waiting in sight took too long."""
        self._overruns += 1
        self._rest = min(2 ** max(self._overruns - 2, 0) - 1, _LONGEST_REST)
        if seen > LEAST_SHOWN:
            self.shown = max(min(self.shown, seen) // 2, LEAST_SHOWN)
        self._in_time, self._patience = 0, min(2 * self._patience, _LONGEST_PATIENCE)

    def in_time(self) -> None:
        """Take note of a step within the time box."""
        self._overruns = 0
        if self.shown == self.most:
            return
        self._in_time += 1
        if self._in_time >= self._patience:
            self._in_time = 0
            self.shown = min(self.shown + self.shown // 4, self.most)
