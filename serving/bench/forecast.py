"""Predicts the lengths of a workload as a server would: one prompt at a time, on the clock."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from predictor.distribution import LengthDistribution
from predictor.prompt import Prompt
from predictor.protocol import LengthPredictor
from scheduler.registry import PolicyName
from serving.bench.config import STOCK
from training.workload import WorkloadRequest


@dataclass(frozen=True, slots=True)
class Forecast:
    """A predicted length distribution and the seconds it took; nothing for stock policies."""

    lengths: LengthDistribution | None = None
    prediction_s: float | None = None


def forecasts(
    policy: PolicyName,
    requests: Sequence[WorkloadRequest],
    predictor: LengthPredictor | None,
    *,
    max_total_tokens: int,
) -> list[Forecast]:
    """Return what a policy is told about each request.

    Made before the replay, so that predicting takes no time from an engine that shares its two
    cores with the client; the time each prediction took is reported beside the results.
    """
    if policy.base in STOCK:
        return [Forecast()] * len(requests)
    if policy.oracle:
        return [Forecast(LengthDistribution.point(request.output_tokens)) for request in requests]
    if predictor is None:
        return [Forecast()] * len(requests)
    return [_timed(predictor, request, max_total_tokens) for request in requests]


def _timed(predictor: LengthPredictor, request: WorkloadRequest, max_total_tokens: int) -> Forecast:
    prompt = Prompt(
        text=request.prompt,
        task=request.slo_class,
        input_tokens=request.prompt_tokens,
        max_tokens=max(max_total_tokens - request.prompt_tokens, 1),
    )
    started_s = time.perf_counter()
    (lengths,) = predictor.predict([prompt])
    return Forecast(lengths, time.perf_counter() - started_s)
