"""Compiles what a policy will run, before an engine waits for it."""

import numpy as np

from predictor.distribution import LengthDistribution, log_edges
from scheduler.latency import StepLatency, StepWork
from scheduler.latency_fitter import LatencyFitter
from scheduler.placement.choice import Candidate
from scheduler.placement.digest import Digest
from scheduler.placement.fleet import Fleet
from scheduler.registry import create_policy
from scheduler.shortlist import Shortlist
from scheduler.slo import Slo
from scheduler.snapshot import Limits, Snapshot
from scheduler.tracker import Arrival, Tracker

# Enough that every kernel of every policy has something to do.
_REQUESTS = 12

_SOME_LATENCY = StepLatency.linear(step_s=1e-2, decode_s=1e-3, prompt_token_s=1e-4)


def warm_up(policy_name: str) -> None:
    """Let a throw-away copy of the policy plan and step once on a made-up engine.

    Numba compiles on the first call (seconds) and loads from its cache afterwards.
    """
    policy = create_policy(policy_name)
    snapshot = _made_up()
    plan = policy.plan(snapshot, None)
    policy.step(snapshot, plan)
    if plan is not None:
        policy.plan(snapshot, plan)
    _warm_up_queue()
    _warm_up_fitter()


def warm_up_placement() -> None:
    """The same for a digest, and for the choice among engines."""
    fleet, digest = Fleet[int](), Digest.of(_made_up())
    candidate = Candidate.of(Slo(e2e_s=30.0), LengthDistribution.point(100), prompt_tokens=32)
    for engine in range(2):
        fleet.update(engine, digest, made_s=0.0)
        fleet.placed(engine, candidate, now_s=0.0)
    fleet.ranks([0, 1], candidate, now_s=0.1)


def _made_up() -> Snapshot:
    """Two run, one of them with tokens out, and a third could begin: steps are sized, too."""
    return _made_up_engine().snapshot(now_s=float(_REQUESTS), latency=_SOME_LATENCY)


def _warm_up_queue() -> None:
    """A queue that is too long for a policy, and one that is served without it."""
    engine = _made_up_engine()
    engine.waiting_by_priority()
    Shortlist().look(engine, now_s=1.0, latency=_SOME_LATENCY, most=2, advance=True)


def _made_up_engine() -> Tracker:
    tracker = Tracker(limits=Limits(max_num_seqs=3, max_batched_tokens=512, kv_tokens=10_000))
    edges = log_edges(max_tokens=512, bins=16)
    flat = np.full(len(edges) - 1, 1 / (len(edges) - 1))
    lengths = LengthDistribution(edges=edges, probabilities=flat)
    for number in range(_REQUESTS):
        slo = Slo(e2e_s=30.0) if number % 2 else Slo(ttft_s=5.0, tpot_s=0.1)
        name = str(number)
        tracker.arrived(
            Arrival(name, float(number), prompt_tokens=32, max_tokens=512, slo=slo, lengths=lengths)
        )
        if number < 2:
            tracker.scheduled({name: 32})
    tracker.tokens({"0": 3}, 1.0)
    return tracker


def _warm_up_fitter() -> None:
    """The first fit and a later one: a compiler in the refit's thread would hold up the step's."""
    for latest in (None, _SOME_LATENCY):
        fitter = LatencyFitter(latest=latest)
        for decodes in range(1, _REQUESTS + 1):
            work = StepWork(decodes=decodes, decode_cached=100.0 * decodes)
            fitter.observe(work, _SOME_LATENCY.seconds(work))
        fitter.fit()
