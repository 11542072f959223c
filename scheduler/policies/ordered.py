"""Policies that sort the waiting by one key and leave everything else to the engine."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scheduler.decision import Plan, StepDecision
from scheduler.lengths import expected_remaining
from scheduler.snapshot import Floats, RequestTable, Snapshot

SortKey = Callable[[Snapshot], Floats]


@dataclass(frozen=True, slots=True)
class OrderedPolicy:
    """Serves the waiting in ascending order of ``key``; ties keep arrival order."""

    name: str
    key: SortKey
    stands: bool = True

    def plan(self, snapshot: Snapshot, previous: Plan | None) -> Plan | None:  # noqa: ARG002
        """Have no plan: the key of the moment decides."""
        return None

    def step(self, snapshot: Snapshot, plan: Plan | None) -> StepDecision:  # noqa: ARG002
        """Sort the waiting. Cost: one argsort."""
        order = np.argsort(self.key(snapshot), kind="stable")
        return StepDecision(order=snapshot.waiting.handle[order])


def by_arrival(snapshot: Snapshot) -> Floats:
    """First come, first served (stock vLLM V1)."""
    return snapshot.waiting.arrival_s


def by_priority(snapshot: Snapshot) -> Floats:
    """Lower priority number first, then arrival (vLLM V1 ``--scheduling-policy priority``)."""
    return snapshot.waiting.priority


def by_expected_length(snapshot: Snapshot) -> Floats:
    """Shortest expected remaining output first."""
    return expected_remaining(snapshot.waiting, snapshot.lengths)


def by_deadline(snapshot: Snapshot) -> Floats:
    """Earliest deadline first: TTFT deadline of chat, end-to-end deadline of the others."""
    return deadline_s(snapshot.waiting)


def by_slack(snapshot: Snapshot) -> Floats:
    """Least slack first: time to the deadline less the expected service time."""
    waiting = snapshot.waiting
    prefill_s = snapshot.latency.prefill_s(1, waiting.prefill_left)
    token_s = snapshot.latency.decode_s(
        snapshot.limits.max_num_seqs, float(waiting.prompt_tokens.mean()) if len(waiting) else 1.0
    )
    decode_s = token_s * expected_remaining(waiting, snapshot.lengths)
    service_s = prefill_s + np.where(np.isfinite(waiting.e2e_s), decode_s, 0.0)
    return np.asarray(deadline_s(waiting) - snapshot.now_s - service_s)


def deadline_s(table: RequestTable) -> Floats:
    """float64[n]: the first deadline a request still has; ``inf`` without a promise."""
    pending_ttft = np.where(table.generated == 0, table.ttft_s, np.inf)
    return np.asarray(table.arrival_s + np.minimum(pending_ttft, table.e2e_s))
