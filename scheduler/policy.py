"""The one interface that every scheduling policy has and every driver uses."""

from typing import Protocol

from scheduler.decision import Plan, StepDecision
from scheduler.snapshot import Snapshot


class Policy(Protocol):
    """Decides who is served; pure: it sees a snapshot and knows no engine.

    The driver calls :meth:`plan` when the snapshot's version has changed (milliseconds, may
    run off the step path) and :meth:`step` before every engine iteration (microseconds).
    Policies are deterministic for their seed and keep no reference to a snapshot.
    """

    @property
    def name(self) -> str:
        """The name on the command line."""
        ...

    def plan(self, snapshot: Snapshot, previous: Plan | None) -> Plan | None:
        """Say who comes next over the coming seconds; ``None`` from a policy without plans."""
        ...

    def step(self, snapshot: Snapshot, plan: Plan | None) -> StepDecision:
        """Turn the standing plan (possibly older than the snapshot) into this step's decision."""
        ...
