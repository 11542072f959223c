"""Policy ``sarathi-edf``: Sarathi-Serve's fixed chunk (arXiv 2403.02310) in deadline order."""

from dataclasses import dataclass

import numpy as np

from scheduler.decision import Plan, StepDecision
from scheduler.policies.ordered import deadline_s
from scheduler.policies.prefill_turns import prefills_of, step_in_order
from scheduler.snapshot import RequestTable, Snapshot


@dataclass(frozen=True, slots=True)
class SarathiEdfPolicy:
    """Computes prefills by deadline, every step within the same token budget.

    Sarathi-Serve gives each step ``token_budget`` tokens, first to the decodes, the rest to one
    or more prefills in chunks, so that no prompt stalls the decodes. The paper goes by arrival;
    here begun and waiting prefills stand in the order of ``edf``, chosen anew in each step, as
    Niyama (arXiv 2503.22562) compares itself with it. Where decodes fill the budget each of them
    gets its token all the same. Cost: one argsort, 20 us with 150 waiting.
    """

    token_budget: int = 512
    name: str = "sarathi-edf"

    def __post_init__(self) -> None:
        if self.token_budget < 1:
            raise ValueError(f"token_budget is {self.token_budget}: a step needs a token at least")

    def plan(self, snapshot: Snapshot, previous: Plan | None) -> Plan | None:  # noqa: ARG002
        """Have no plan: the deadlines of the moment decide."""
        return None

    def step(self, snapshot: Snapshot, plan: Plan | None) -> StepDecision:  # noqa: ARG002
        """Sort begun and waiting prefills by deadline, and name the budget."""
        prefills = prefills_of(snapshot)
        budget = min(self.token_budget, snapshot.limits.max_batched_tokens)
        order = np.argsort(deadline_s(RequestTable(prefills.values)), kind="stable")
        return step_in_order(
            snapshot,
            prefills,
            order,
            budget=max(budget, len(prefills.decodes)),
            relegated=order[:0],
        )
