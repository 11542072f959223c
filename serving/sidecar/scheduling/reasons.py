"""Why a request stands where it stands, in one sentence with its numbers."""

from dataclasses import dataclass
from math import isnan

from scheduler.decision import Plan, StepDecision
from serving.sidecar.schemas.schedule import ReasonOut

# Of a chance: less is lost for practical purposes; a smaller difference is none.
_LOST = 0.02
_SMALL = 0.1


@dataclass(frozen=True, slots=True)
class Reasons:
    """Who is named in which part of a decision."""

    preempt: frozenset[int]
    memory: frozenset[int]
    held: frozenset[int]
    relegated: frozenset[int]
    policy: str

    @classmethod
    def of(cls, decision: StepDecision, plan: Plan | None, policy: str) -> "Reasons":
        """Read a decision, and the plan it came from."""
        for_memory = decision.held if plan is None else plan.held
        return cls(
            frozenset(decision.preempt.tolist()),
            frozenset(for_memory.tolist() if plan or policy == "past-future" else ()),
            frozenset(decision.held.tolist()),
            frozenset(decision.relegated.tolist()),
            policy,
        )

    def reason(  # noqa: PLR0911 - one for each answer
        self, handle: int, *, runs: bool, wait_s: float, chance: float, chance_now: float
    ) -> ReasonOut:
        """Of one request, by its :class:`~scheduler.slots.outcome.Outcome`."""
        odds = "nothing was promised" if isnan(chance) else f"{chance:.0%} to keep its promise"
        if runs:
            return ReasonOut("keeps_slot", f"It keeps its slot: {odds}.")
        if handle in self.preempt:
            return ReasonOut("gives_way", f"Its slot is worth more to others; back later, {odds}.")
        if handle in self.memory:
            return ReasonOut("held_for_memory", "With it the KV cache would run out, by forecast.")
        if handle in self.relegated:
            return ReasonOut(
                "relegated", "Too late for its first token: it stands behind the rest."
            )
        if isnan(chance):
            return ReasonOut("nothing_promised", f"Promised nothing; about {wait_s:.1f} s to wait.")
        if chance_now < _LOST:
            return ReasonOut(
                "promise_lost", "Its promise cannot be kept any more: nobody waits for it."
            )
        if handle in self.held:
            return ReasonOut(
                "after_others", f"Other prompts are computed first in the coming step: {odds}."
            )
        if wait_s <= 0.0:
            return ReasonOut("gets_slot", f"A slot is there for it: {odds}.")
        if chance >= chance_now - _SMALL:
            return ReasonOut("can_wait", f"It can wait {wait_s:.1f} s: then still {odds}.")
        return ReasonOut(
            "outranked",
            f"{self.policy} serves others first: {chance_now:.0%} now, {chance:.0%} "
            f"in {wait_s:.1f} s.",
        )
