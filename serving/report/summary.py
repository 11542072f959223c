"""The figures of a benchmark: from the runs of the policies to the result document.

Every figure of an empty group is ``None`` (JSON ``null``), never NaN. Latencies are in seconds,
``*_us`` in microseconds, ``*_ms`` in milliseconds; shares are between 0 and 1.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from serving.bench.records import PolicyRun, RequestRecord, Status
from serving.report.queue import depth_over_time, mean_depth
from serving.steplog import StepRecord

DEEP_QUEUE = 100
"""Waiting requests from which on a step counts into ``added_step_us["p99_at_depth"]``."""

Figures = dict[str, Any]


def result_document(config: Mapping[str, Any], runs: Sequence[PolicyRun]) -> Figures:
    """Return all that the result file holds, ready for ``json.dumps(..., allow_nan=False)``.

    ``queue`` has one row ``[seconds since the first step, waiting, running]`` per kept step.
    """
    return {
        "config": dict(config),
        "policies": {run.policy: policy_figures(run) for run in runs},
        "requests": [_row(run.policy, record) for run in runs for record in run.records],
        "queue": {run.policy: depth_over_time(run.steps) for run in runs},
    }


def policy_figures(run: PolicyRun) -> Figures:
    """Return the figures of one policy: all requests, each class, and its engine steps."""
    return {
        **request_figures(run.records, duration_s=run.duration_s),
        **step_figures(run.steps),
        "fallbacks": run.fallbacks,
        "duration_s": run.duration_s,
        "other_cpu_share": run.other_cpu_share,
        "error": run.error,
        "classes": {
            name: request_figures(records, duration_s=run.duration_s)
            for name, records in _by_class(run.records).items()
        },
    }


def request_figures(records: Sequence[RequestRecord], *, duration_s: float) -> Figures:
    """Return the figures of a group of requests out of a run that took ``duration_s``.

    Latencies and token rates are those of answered requests; attainment and goodput count every
    request with a target, so one that was rejected, failed or timed out is a violation.
    """
    answered = [record for record in records if record.status == "ok"]
    promised = [record for record in records if record.met is not None]
    met = sum(_kept(record) for record in promised)
    return {
        "requests": len(records),
        "requests_with_target": len(promised),
        "statuses": _statuses(records),
        "slo_attainment": _ratio(met, len(promised)),
        **_spread("e2e_s", (record.e2e_s for record in answered)),
        **_spread("ttft_s", (record.ttft_s for record in answered)),
        **_spread("tpot_s", (record.tpot_s for record in answered)),
        "output_tokens_per_s": _ratio(sum(r.output_tokens for r in answered), duration_s),
        "goodput_rps": _ratio(met, duration_s),
        "prediction_ms": _tail((record.prediction_s for record in records), scale=1e3),
    }


def step_figures(steps: Sequence[StepRecord]) -> Figures:
    """Return the queue and scheduler figures of the engine's steps, ``None`` without a step log."""
    deep = _finite(step.added_s for step in steps if step.waiting >= DEEP_QUEUE)
    return {
        "steps": len(steps),
        "max_queue_depth": max((step.waiting for step in steps), default=None),
        "mean_queue_depth": mean_depth(steps),
        "preemptions": sum(step.preempted for step in steps) if steps else None,
        "scheduler_step_us": _tail((step.schedule_s for step in steps), scale=1e6),
        "added_step_us": {
            **_tail((step.added_s for step in steps), scale=1e6),
            "p99_at_depth": _percentile(deep * 1e6, 99),
        },
    }


def _by_class(records: Iterable[RequestRecord]) -> dict[str, list[RequestRecord]]:
    groups: dict[str, list[RequestRecord]] = {}
    for record in records:
        groups.setdefault(record.slo_class, []).append(record)
    return dict(sorted(groups.items()))


def _kept(record: RequestRecord) -> bool:
    return record.status == "ok" and record.met is True


def _statuses(records: Iterable[RequestRecord]) -> dict[str, int]:
    counts = Counter(record.status for record in records)
    return {status: counts[status] for status in get_args(Status)}


def _row(policy: str, record: RequestRecord) -> Figures:
    return {
        "policy": policy,
        **{
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in asdict(record).items()
        },
    }


def _finite(values: Iterable[float | None]) -> NDArray[np.float64]:
    known = np.array([value for value in values if value is not None], dtype=np.float64)
    return np.compress(np.isfinite(known), known)


def _spread(name: str, values: Iterable[float | None]) -> Figures:
    known = _finite(values)
    return {
        f"mean_{name}": float(known.mean()) if known.size else None,
        **{f"p{percent}_{name}": _percentile(known, percent) for percent in (50, 90, 99)},
    }


def _tail(values: Iterable[float | None], *, scale: float) -> Figures:
    known = _finite(values) * scale
    return {f"p{percent}": _percentile(known, percent) for percent in (50, 99)}


def _percentile(values: NDArray[np.float64], percent: float) -> float | None:
    return float(np.percentile(values, percent)) if values.size else None


def _ratio(amount: float, whole: float) -> float | None:
    return amount / whole if whole > 0 else None
