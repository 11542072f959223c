"""Policy ``anneal-paper``: the published scheduler (arXiv 2504.14966) as it stands."""

import numpy as np

from scheduler.annealing import AnnealConfig, AnnealProblem, anneal
from scheduler.decision import Plan, StepDecision, no_handles
from scheduler.lengths import remaining_atoms
from scheduler.snapshot import Floats, RequestTable, Snapshot

_ATOMS = 32
_NEVER = 1e-9


class AnnealPaperPolicy:
    """Orders the waiting by annealed static batches; lengths are one draw per request.

    Each request's length is drawn once per plan from the Gaussian with the mean and the
    standard deviation of its forecast (section 4). Running requests are left alone.
    """

    name = "anneal-paper"
    follows_plan = True

    def __init__(self, config: AnnealConfig | None = None) -> None:
        self._config = config or AnnealConfig.paper(time_box_s=1e-3)
        self._rng = np.random.default_rng(self._config.seed)

    def plan(self, snapshot: Snapshot, previous: Plan | None) -> Plan:  # noqa: ARG002
        """Anneal the waiting. Cost: the time box of the config (1 ms)."""
        waiting = snapshot.waiting
        if not len(waiting):
            return Plan(snapshot.version, snapshot.now_s, no_handles())
        found = anneal(self._problem(snapshot), self._config)
        return Plan(
            version=snapshot.version,
            made_at_s=snapshot.now_s,
            order=waiting.handle[found.order],
            value=found.value,
            seed_value=found.seed_value,
            evaluations=found.evaluations,
        )

    def step(self, snapshot: Snapshot, plan: Plan | None) -> StepDecision:
        """Serve in the planned order."""
        return StepDecision(order=snapshot.waiting.handle if plan is None else plan.order)

    def _problem(self, snapshot: Snapshot) -> AnnealProblem:
        waiting = snapshot.waiting
        return AnnealProblem.create(
            prompt_tokens=waiting.prefill_left,
            output_tokens=self._drawn_tokens(snapshot),
            latency=snapshot.latency,
            max_batch=snapshot.limits.max_num_seqs,
            waited_s=snapshot.now_s - waiting.arrival_s,
            ttft_s=_pending_ttft_s(waiting),
            tpot_s=waiting.tpot_s,
            e2e_s=waiting.e2e_s,
        )

    def _drawn_tokens(self, snapshot: Snapshot) -> Floats:
        """float64[n]: one Gaussian draw of what each waiting request has still to say."""
        atoms = remaining_atoms(snapshot.waiting, snapshot.lengths, _ATOMS)
        drawn = self._rng.normal(atoms.mean(axis=1), atoms.std(axis=1))
        return np.asarray(np.maximum(np.rint(drawn), 1.0))


def _pending_ttft_s(waiting: RequestTable) -> Floats:
    """The TTFT target, or whether it was kept for requests that were preempted after it."""
    kept = waiting.first_token_s <= waiting.arrival_s + waiting.ttft_s
    settled = np.where(kept, np.inf, _NEVER)
    return np.asarray(np.where(waiting.generated > 0, settled, waiting.ttft_s))
