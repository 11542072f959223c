"""Any policy within a step limit of its own, below the engine's: ``qoserve@256``."""

from dataclasses import dataclass, replace

from scheduler.decision import Plan, StepDecision
from scheduler.phase import count_decodes
from scheduler.policy import Policy
from scheduler.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class StepLimited:
    """Shows a policy an engine that computes ``tokens`` a step at most, and holds it to that.

    Decodes are never left out: where more than ``tokens`` run, the step has one token for each.
    Cost: 2 us beside the policy.
    """

    policy: Policy
    tokens: int

    @property
    def name(self) -> str:
        """The policy's name with its limit."""
        return f"{self.policy.name}@{self.tokens}"

    def plan(self, snapshot: Snapshot, previous: Plan | None) -> Plan | None:
        """Plan on the smaller engine."""
        return self.policy.plan(self._limited(snapshot), previous)

    def step(self, snapshot: Snapshot, plan: Plan | None) -> StepDecision:
        """Decide on the smaller engine."""
        limited = self._limited(snapshot)
        decision = self.policy.step(limited, plan)
        limit = limited.limits.max_batched_tokens
        budget = limit if decision.token_budget is None else min(decision.token_budget, limit)
        # A prefill that becomes a decode raises a limit that decodes fill.
        stands = decision.stands and snapshot.limits.max_num_seqs <= self.tokens
        return replace(decision, token_budget=budget, stands=stands)

    def _limited(self, snapshot: Snapshot) -> Snapshot:
        limits = snapshot.limits
        tokens = max(self.tokens, count_decodes(snapshot.running.values))
        if tokens >= limits.max_batched_tokens:
            return snapshot
        return replace(snapshot, limits=replace(limits, max_batched_tokens=tokens))
