"""Requests of a snapshot as the tracker takes them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from predictor.distribution import LengthDistribution
from predictor.transport import rows_from_floats
from scheduler.request_pool import LENGTH_BINS
from scheduler.slo import Slo, SloClass
from scheduler.snapshot import Column, Floats
from scheduler.tracker import Arrival
from serving.priors import ClassPriors
from serving.sidecar.scheduling.session import Session
from serving.sidecar.schemas.base import slo_of
from serving.sidecar.schemas.schedule import RequestIn
from serving.slo_classes import ClassTable


@dataclass(frozen=True, slots=True)
class Known:
    """What a request does not say itself: its class's promise, priority and prior."""

    classes: ClassTable
    priors: ClassPriors
    # Whether a request that states no priority has its class's.
    class_priorities: bool = False

    def resolve(self, request: RequestIn) -> tuple[SloClass, Slo]:
        """Class and targets; those that the request leaves out are its class's."""
        targets = slo_of(request.ttft_ms, request.tpot_ms, request.e2e_ms)
        return self.classes.resolve(request.slo_class, targets=targets)

    def priority(self, request: RequestIn, slo_class: SloClass) -> int:
        """Its own, or its class's for a policy that orders by classes; lower is earlier."""
        if request.priority is not None:
            return request.priority
        return slo_class.priority if self.class_priorities else 0

    def lengths(self, request: RequestIn) -> list[float]:
        """The forecast within the request's own limits, flat; raises ``DistributionError``."""
        limits = request.limits()
        if request.lengths is None:
            name = self.classes.get(request.slo_class).name
            return limits.condition(self.priors.prior(name, request.max_tokens)).to_floats()
        given: list[float] = request.lengths
        if limits.natural and _ends_within(given, request.max_tokens):
            return given
        return limits.condition(LengthDistribution.from_floats(given)).to_floats()

    def arrival(self, request: RequestIn, session: Session, now_s: float) -> Arrival:
        """One request by itself."""
        slo_class, slo = self.resolve(request)
        return Arrival(
            request_id=request.id,
            arrival_s=session.arrival_s(request.id, now_s - request.waited_ms / 1e3),
            prompt_tokens=request.prompt_tokens,
            max_tokens=request.max_tokens,
            slo=slo,
            lengths=LengthDistribution.from_floats(self.lengths(request)),
            priority=self.priority(request, slo_class),
        )


def values_of(
    requests: Sequence[RequestIn], known: Known, session: Session, now_s: float
) -> Floats:
    """float64[len(Column), n], the tracker's columns without handles."""
    values = np.zeros((len(Column), len(requests)))
    arrival_s = [session.arrival_s(r.id, now_s - r.waited_ms / 1e3) for r in requests]
    resolved = [known.resolve(request) for request in requests]
    classes, slos = [each[0] for each in resolved], [each[1] for each in resolved]
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
        Column.PRIORITY: [known.priority(r, c) for r, c in zip(requests, classes, strict=True)],
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


def _ends_within(lengths: list[float], max_tokens: int) -> bool:
    """Whether a flat forecast keeps a limit; what is no forecast is found out later."""
    last = lengths[len(lengths) // 2] if isinstance(lengths, list) and lengths else 0
    return not isinstance(last, int | float) or last <= max_tokens


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
