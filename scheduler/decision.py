"""What a policy answers: a standing plan (slow clock) and one step's decision (fast clock)."""

from dataclasses import dataclass, field, replace

import numpy as np

from scheduler.snapshot import Ints


def no_handles() -> Ints:
    """Return an empty list of handles."""
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Plan:
    """Who comes next over the coming seconds; stands until the snapshot's version changes.

    ``order`` names every live request the planner looked at, first served first, running ones
    included; ``held`` are those of them who must wait for memory, ``gone`` those who run and give
    theirs up. The first ``overdue`` of the order have waited too long and stand there for that
    alone. ``silent`` are handles of streams
    that have begun and were silent for long: they are served before all others, and the first
    ``forced`` of them must have a slot now.
    ``value`` is the planner's own estimate of what the order is worth (its unit is the policy's)
    and ``seed_value`` that of the best order it started from.
    """

    version: int
    made_at_s: float
    order: Ints
    held: Ints = field(default_factory=no_handles)
    gone: Ints = field(default_factory=no_handles)
    overdue: int = 0
    silent: Ints = field(default_factory=no_handles)
    forced: int = 0
    value: float = 0.0
    seed_value: float = 0.0
    evaluations: int = 0


@dataclass(frozen=True, slots=True)
class StepDecision:
    """What the engine does in this iteration.

    ``order``: handles of the waiting requests, first served first. ``running``: handles of
    running requests in the order in which they are given tokens, and from its end memory is
    taken; ``None`` leaves the engine's order, and those not named come last. ``preempt``: running
    requests that give up their slot now and join the waiting (they must stand in ``order``
    as well). ``held``: waiting requests that must not be admitted in this step, and running ones
    that keep their place and memory but compute nothing.
    ``relegated``: waiting requests that stand behind all others because their promise cannot
    be kept any more; they are served when nothing else wants the engine.
    ``token_budget``: tokens this step may compute; ``None`` leaves the engine's own limit.
    ``shortlisted``: the policy was shown a part of a long queue. Waiting requests that ``order``
    does not name stay out of this step, whatever room there is. Else they come last.
    ``stands``: whether the answer is good until somebody comes or goes, or a second has passed;
    else the policy is asked again before the next step.
    """

    order: Ints
    preempt: Ints = field(default_factory=no_handles)
    held: Ints = field(default_factory=no_handles)
    relegated: Ints = field(default_factory=no_handles)
    running: Ints | None = None
    token_budget: int | None = None
    shortlisted: bool = False
    stands: bool = True

    def completed(self, waiting: Ints) -> "StepDecision":
        """The same for all ``waiting``: those that a shortlist left out stand behind the others."""
        if not self.shortlisted:
            return self
        others = waiting[~np.isin(waiting, self.order)]
        return replace(self, order=np.concatenate((self.order, others)), shortlisted=False)

    def same_queue(self, other: "StepDecision | None") -> bool:
        """Whether the waiting stand in the right order already if ``other`` was applied before."""
        return self is other or (
            other is not None
            and self.order is other.order
            and self.held is other.held
            and self.shortlisted == other.shortlisted
            and not len(self.preempt)
            and not len(other.preempt)
        )
