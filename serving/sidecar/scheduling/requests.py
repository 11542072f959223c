"""Requests of a snapshot as the tracker takes them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from predictor.distribution import LengthDistribution
from predictor.transport import rows_from_floats
from scheduler.slo import Slo, SloClass
from scheduler.snapshot import Column, Floats
from scheduler.tracker import LENGTH_BINS, Arrival
from serving.priors import ClassPriors
from serving.sidecar.scheduling.session import Session
from serving.sidecar.schemas.base import target_seconds
from serving.sidecar.schemas.schedule import RequestIn
from serving.slo_classes import ClassTable


@dataclass(frozen=True, slots=True)
class Known:
    """What a request does not say itself: its class's promise, priority and prior."""

    classes: ClassTable
    priors: ClassPriors

    def slo(self, request: RequestIn, slo_class: SloClass) -> Slo:
        """Targets in seconds; those of the class if the request names none."""
        if request.ttft_ms is None and request.tpot_ms is None and request.e2e_ms is None:
            return slo_class.slo
        return Slo(
            ttft_s=target_seconds(request.ttft_ms),
            tpot_s=target_seconds(request.tpot_ms),
            e2e_s=target_seconds(request.e2e_ms),
        )

    def lengths(self, request: RequestIn) -> list[float]:
        """The forecast, flat."""
        if request.lengths is not None:
            given: list[float] = request.lengths
            return given
        name = self.classes.get(request.slo_class).name
        return self.priors.prior(name, request.max_tokens).to_floats()

    def arrival(self, request: RequestIn, session: Session, now_s: float) -> Arrival:
        """One request by itself."""
        slo_class = self.classes.get(request.slo_class)
        return Arrival(
            request_id=request.id,
            arrival_s=session.arrival_s(request.id, now_s - request.waited_ms / 1e3),
            prompt_tokens=request.prompt_tokens,
            max_tokens=request.max_tokens,
            slo=self.slo(request, slo_class),
            lengths=LengthDistribution.from_floats(self.lengths(request)),
            priority=_priority(request, slo_class),
        )


def values_of(
    requests: Sequence[RequestIn], known: Known, session: Session, now_s: float
) -> Floats:
    """float64[len(Column), n], the tracker's columns without handles."""
    values = np.zeros((len(Column), len(requests)))
    arrival_s = [session.arrival_s(r.id, now_s - r.waited_ms / 1e3) for r in requests]
    classes = [known.classes.get(request.slo_class) for request in requests]
    slos = [known.slo(r, slo_class) for r, slo_class in zip(requests, classes, strict=True)]
    columns: dict[Column, list[float]] = {
        Column.ARRIVAL_S: arrival_s,
        Column.PROMPT_TOKENS: [r.prompt_tokens for r in requests],
        Column.PREFILL_LEFT: [_prefill_left(r) for r in requests],
        Column.GENERATED: [r.generated for r in requests],
        Column.FIRST_TOKEN_S: [
            _first_token_s(r, at_s) for r, at_s in zip(requests, arrival_s, strict=True)
        ],
        Column.TTFT_S: [slo.ttft_s or np.inf for slo in slos],
        Column.TPOT_S: [slo.tpot_s or np.inf for slo in slos],
        Column.E2E_S: [slo.e2e_s or np.inf for slo in slos],
        Column.PRIORITY: [_priority(r, c) for r, c in zip(requests, classes, strict=True)],
        Column.PREEMPTIONS: [r.preemptions for r in requests],
        Column.MAX_TOKENS: [r.max_tokens for r in requests],
        Column.LAST_TOKEN_S: [np.nan] * len(requests),
    }
    for column, content in columns.items():
        values[column] = content
    return values


def length_rows(requests: Sequence[RequestIn], known: Known) -> tuple[Floats, Floats]:
    """Edges and CDF, float64[n, LENGTH_BINS + 1] each; raises ``DistributionError``."""
    return rows_from_floats([known.lengths(r) for r in requests], bins=LENGTH_BINS)


def _prefill_left(request: RequestIn) -> int:
    if request.prefill_left is not None:
        return request.prefill_left
    if request.state == "waiting":
        return request.prompt_tokens + request.generated
    return 0 if request.generated else request.prompt_tokens


def _first_token_s(request: RequestIn, arrival_s: float) -> float:
    """When the first token came; for one that does not say it, with the request."""
    if not request.generated:
        return np.nan
    return arrival_s + (request.first_token_ms or 0.0) / 1e3


def _priority(request: RequestIn, slo_class: SloClass) -> int:
    return slo_class.priority if request.priority is None else request.priority
