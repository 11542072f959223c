"""Predicts the lengths of a workload as a server would: one prompt at a time, on the clock."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from predictor.distribution import LengthDistribution
from predictor.prompt import Prompt
from predictor.protocol import LengthPredictor
from scheduler.registry import PolicyName
from serving.bench.config import STOCK
from serving.bench.replay import NATURAL_TEMPERATURE
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
    limit: Callable[[WorkloadRequest], int],
    truth: Callable[[WorkloadRequest], float],
    llm: str | None = None,
) -> list[Forecast]:
    """Return what a policy is told about each request.

    Made before the replay, so that predicting takes no time from an engine that shares its two
    cores with the client; the time each prediction took is reported beside the results.
    ``limit`` is where an answer would be cut, ``truth`` what an oracle knows, in tokens. ``llm``
    answers by itself, if that is known; recorded answers are nobody's.
    """
    if policy.base in STOCK:
        return [Forecast()] * len(requests)
    if policy.oracle:
        lengths = [max(round(truth(request)), 1) for request in requests]
        return [Forecast(LengthDistribution.point(tokens)) for tokens in lengths]
    if predictor is None:
        return [Forecast()] * len(requests)
    return [_timed(predictor, request, limit(request), llm) for request in requests]


def _timed(
    predictor: LengthPredictor, request: WorkloadRequest, limit: int, llm: str | None
) -> Forecast:
    prompt = Prompt(
        text=request.prompt,
        task=request.slo_class,
        input_tokens=request.prompt_tokens,
        max_tokens=max(limit, 1),
        llm=llm,
        temperature=None if llm is None else NATURAL_TEMPERATURE,
    )
    started_s = time.perf_counter()
    (lengths,) = predictor.predict([prompt])
    return Forecast(lengths, time.perf_counter() - started_s)
