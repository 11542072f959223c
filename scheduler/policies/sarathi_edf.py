"""Policy ``sarathi-edf``: Sarathi-Serve's fixed chunk (arXiv 2403.02310) in deadline order."""

from dataclasses import dataclass

from scheduler.decision import Plan, StepDecision
from scheduler.policies.ordered import OrderedPolicy, by_deadline
from scheduler.snapshot import Snapshot

_DEADLINE_ORDER = OrderedPolicy(name="edf", key=by_deadline)


@dataclass(frozen=True, slots=True)
class SarathiEdfPolicy:
    """Serves the waiting by deadline, every step within the same token budget.

    Sarathi-Serve gives each step ``token_budget`` tokens, first to the decodes, the rest to one
    or more prefills in chunks, so that no prompt stalls the decodes; the engine allots in that
    order anyway. The paper admits by arrival; here the order of the waiting is that of ``edf``,
    as Niyama (arXiv 2503.22562) compares itself with it. The budget never falls below one token
    for each slot. Cost: one argsort.
    """

    token_budget: int = 512
    name: str = "sarathi-edf"

    def __post_init__(self) -> None:
        if self.token_budget < 1:
            raise ValueError(f"token_budget is {self.token_budget}: a step needs a token at least")

    def plan(self, snapshot: Snapshot, previous: Plan | None) -> Plan | None:  # noqa: ARG002
        """Have no plan: the deadlines of the moment decide."""
        return None

    def step(self, snapshot: Snapshot, plan: Plan | None) -> StepDecision:
        """Sort the waiting by deadline and name the budget."""
        order = _DEADLINE_ORDER.step(snapshot, plan).order
        budget = max(self.token_budget, snapshot.limits.max_num_seqs)
        return StepDecision(order=order, token_budget=budget)
