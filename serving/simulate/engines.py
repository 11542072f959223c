"""One policy on simulated engines, and its run in the form that reports read."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf, nan

import numpy as np

from scheduler.driver import Driver
from scheduler.registry import PolicyName, class_priorities_act, create_policy
from scheduler.simulator.cluster import serve
from scheduler.simulator.engine import SimulatedEngine
from scheduler.simulator.placement import Placement
from scheduler.simulator.profiles import EngineProfile, load_profile
from scheduler.simulator.request import SimOutcome, SimRequest
from scheduler.simulator.state import Log
from scheduler.snapshot import Floats
from serving.bench.records import PolicyRun, RequestRecord
from serving.simulate.config import SimConfig
from serving.steplog import StepRecord

# Steps kept of a run, evenly spread; figures of requests use all of them.
_KEPT_STEPS = 5000


def engine_profiles(config: SimConfig) -> list[EngineProfile]:
    """The profile of each instance, with the configured limits in place of its own."""
    changes = {
        name: value
        for name, value in (("max_num_seqs", config.max_num_seqs), ("kv_tokens", config.kv_tokens))
        if value is not None
    }
    return [
        replace(
            profile,
            limits=replace(profile.limits, **changes),
            memory_bound=profile.memory_bound or config.kv_tokens is not None,
        )
        for profile in map(load_profile, config.instances)
    ]


def run_policy(
    policy: PolicyName,
    profiles: Sequence[EngineProfile],
    requests: Sequence[SimRequest],
    *,
    placement: Placement | None = None,
    on_arrival: Callable[[int], None] | None = None,
) -> PolicyRun:
    """Serve the requests; deterministic. Several profiles need a ``placement``.

    The priorities of ``requests`` are those of their classes.
    """
    engines = [_engine(policy, profile, k) for k, profile in enumerate(profiles)]
    if not class_priorities_act(policy.base):
        requests = [replace(each, priority=0) if each.priority else each for each in requests]
    outcomes = serve(engines, requests, placement, on_arrival=on_arrival)
    steps = np.concatenate([engine.steps() for engine in engines])
    return PolicyRun(
        policy=policy.full,
        records=tuple(_record(outcome) for outcome in outcomes),
        steps=_steps(steps[np.argsort(steps[:, Log.START_S], kind="stable")]),
        duration_s=max(o.request.arrival_s + o.e2e_s for o in outcomes),
        fallbacks=sum(engine.driver.fallbacks for engine in engines),
    )


def _engine(policy: PolicyName, profile: EngineProfile, instance: int) -> SimulatedEngine:
    limits = replace(profile.limits, steps_ahead=int(profile.rules.asynchronous))
    driver = Driver(
        policy=create_policy(policy.base, repeatable=True),
        limits=limits,
        latency=profile.latency(),
        time_box_s=inf,
    )
    rules = replace(profile.rules, by_priority=policy.rule == "priority")
    return SimulatedEngine(
        driver=driver,
        limits=limits,
        step_time=profile.step_time,
        rules=rules,
        memory_bound=profile.memory_bound,
        instance=instance,
    )


def _record(outcome: SimOutcome) -> RequestRecord:
    request, lengths = outcome.request, outcome.request.lengths
    promised = request.slo.ttft_s or request.slo.tpot_s or request.slo.e2e_s
    return RequestRecord(
        request_id=request.request_id,
        slo_class=request.slo_class,
        arrival_s=request.arrival_s,
        prompt_tokens=request.prompt_tokens,
        recorded_tokens=request.output_tokens,
        status="ok",
        output_tokens=request.output_tokens,
        ttft_s=outcome.ttft_s,
        tpot_s=outcome.tpot_s,
        e2e_s=outcome.e2e_s,
        met=outcome.met if promised else None,
        predicted_mean_tokens=lengths.mean,
        predicted_p90_tokens=float(lengths.quantile(0.9)),
    )


def _steps(rows: Floats) -> tuple[StepRecord, ...]:
    """Every so manyth step; preemptions in between are counted with it."""
    stride = max(len(rows) // _KEPT_STEPS, 1)
    preempted = np.add.reduceat(rows[:, Log.PREEMPTED], np.arange(0, len(rows), stride))
    return tuple(
        StepRecord(
            at_s=float(row[Log.START_S]),
            waiting=int(row[Log.WAITING]),
            running=int(row[Log.RUNNING]),
            prefills=int(row[Log.PREFILLS]),
            prefill_tokens=int(row[Log.PREFILL_TOKENS]),
            prefill_context_tokens=int(row[Log.PREFILL_CACHED]),
            decodes=int(row[Log.DECODES]),
            context_tokens=int(row[Log.CONTEXT_TOKENS]),
            preempted=int(count),
            schedule_s=nan,
            added_s=nan,
            step_s=float(row[Log.STEP_S]),
            prefill_products=int(row[Log.PRODUCTS]),
            prefill_squares=int(row[Log.SQUARES]),
            longest_prefill=int(row[Log.LONGEST]),
        )
        for row, count in zip(rows[::stride], preempted, strict=True)
    )
