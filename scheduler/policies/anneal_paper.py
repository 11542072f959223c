"""Policy ``anneal-paper``: the published system as a baseline (arXiv 2504.14966)."""

from dataclasses import dataclass, field, replace

import numpy as np

from scheduler.annealing import AnnealConfig, AnnealProblem, anneal
from scheduler.decision import Plan, StepDecision
from scheduler.snapshot import Column, Floats, Ints, LengthTable, RequestTable, Snapshot


def _default_config() -> AnnealConfig:
    return AnnealConfig.paper(time_box_s=0.005)


@dataclass(frozen=True, slots=True)
class AnnealPaperPolicy:
    """Anneals order and static batches of the waiting; order is all it hands to the engine.

    Each plan draws one output length per request from a Gaussian with the mean and standard
    deviation of its predicted distribution (the paper's sampled lengths); the draw and the
    search are fixed by ``config.seed`` and the snapshot's version, unless the time box ends
    the search. Plan: the published 6,300 moves take 1 ms with 8 waiting, 6 ms with 150, and
    are cut at ``config.time_box_s``. Step: about 20 us.
    """

    name: str = "anneal-paper"
    config: AnnealConfig = field(default_factory=_default_config)

    def plan(self, snapshot: Snapshot, previous: Plan | None) -> Plan | None:  # noqa: ARG002
        """Order the waiting for the coming seconds as if nothing ran and nothing else came."""
        waiting = snapshot.waiting
        rng = np.random.default_rng((self.config.seed, snapshot.version))
        problem = _problem(snapshot, _sampled_lengths(waiting, snapshot.lengths, rng))
        seed = int(rng.integers(2**63))
        result = anneal(problem, replace(self.config, seed=seed))
        return Plan(
            version=snapshot.version,
            made_at_s=snapshot.now_s,
            order=waiting.handle[result.order],
            value=result.value,
            seed_value=result.seed_value,
            evaluations=result.evaluations,
        )

    def step(self, snapshot: Snapshot, plan: Plan | None) -> StepDecision:
        """Serve in the plan's order, then whoever came since in arrival order."""
        handles = snapshot.waiting.handle
        if plan is None:
            return StepDecision(order=handles)
        return StepDecision(order=_planned_first(handles, plan.order))


def _planned_first(handles: Ints, planned: Ints) -> Ints:
    """Sort ``handles`` by their place in ``planned``; those not in it keep their order behind."""
    size = 1 + max(int(handles.max(initial=0)), int(planned.max(initial=0)))
    rank = np.full(size, planned.size)
    rank[planned] = np.arange(planned.size)
    return handles[np.argsort(rank[handles], kind="stable")]


def _problem(snapshot: Snapshot, lengths: Floats) -> AnnealProblem:
    """Pose the waiting as the paper's problem; lengths float64[n] count all output tokens.

    A request that was preempted has had its first token: its TTFT is settled, and the tokens
    still to come are what it takes.
    """
    waiting = snapshot.waiting
    first_s = waiting.first_token_s - waiting.arrival_s
    settled_ttft_s = np.where(first_s <= waiting.ttft_s, np.inf, -np.inf)
    return AnnealProblem.create(
        prompt_tokens=waiting.prefill_left,
        output_tokens=np.maximum(lengths - waiting.generated, 1.0),
        waited_s=snapshot.now_s - waiting.arrival_s,
        ttft_s=np.where(np.isnan(first_s), waiting.ttft_s, settled_ttft_s),
        tpot_s=waiting.tpot_s,
        e2e_s=waiting.e2e_s,
        max_batch=snapshot.limits.max_num_seqs,
        latency=snapshot.latency,
    )


def _sampled_lengths(table: RequestTable, lengths: LengthTable, rng: np.random.Generator) -> Floats:
    """Draw one length each, float64[n], whole and within 1..max_tokens."""
    handles = table.handle
    mean, std = _moments(lengths.edges[handles], lengths.cdf[handles])
    drawn = np.rint(rng.normal(mean, std))
    return np.clip(drawn, 1.0, np.maximum(table.values[Column.MAX_TOKENS], 1.0))


def _moments(edges: Floats, cdf: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation, float64[n] each, of lengths given by float64[n, bins + 1].

    Bin b holds the whole numbers above ``edges[b]`` up to ``edges[b + 1]``, equally likely.
    """
    low, high = edges[:, :-1], edges[:, 1:]
    share = np.diff(cdf, axis=1)
    middle = (low + 1 + high) / 2
    mean = (share * middle).sum(axis=1)
    inside = np.maximum((high - low) ** 2 - 1, 0.0) / 12
    spread = (share * (inside + (middle - mean[:, None]) ** 2)).sum(axis=1)
    return mean, np.sqrt(spread)
