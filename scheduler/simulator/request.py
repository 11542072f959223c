"""A request inside the simulator, and what became of it."""

from dataclasses import dataclass, field

from predictor.distribution import LengthDistribution
from scheduler.slo import Slo, tpot_s


@dataclass(frozen=True, slots=True)
class SimRequest:
    """What arrives: ``output_tokens`` is the true length, ``lengths`` what the policy is told."""

    request_id: str
    arrival_s: float
    prompt_tokens: int
    output_tokens: int
    slo: Slo
    lengths: LengthDistribution
    slo_class: str = ""
    priority: int = 0


@dataclass(slots=True)
class LiveRequest:
    """Progress of one request inside the engine."""

    request: SimRequest
    computed_tokens: int = 0
    generated: int = 0
    first_token_s: float = field(default=float("nan"))
    preemptions: int = 0

    @property
    def prefill_left(self) -> int:
        """Known tokens that the KV cache does not hold yet."""
        return self.request.prompt_tokens + self.generated - self.computed_tokens


@dataclass(frozen=True, slots=True)
class SimOutcome:
    """How a request fared; seconds from its arrival."""

    request: SimRequest
    ttft_s: float
    tpot_s: float
    e2e_s: float
    met: bool
    preemptions: int

    @classmethod
    def of(cls, live: LiveRequest, finished_s: float) -> "SimOutcome":
        """Measure a request that has just finished."""
        request = live.request
        ttft = live.first_token_s - request.arrival_s
        e2e = finished_s - request.arrival_s
        tpot = tpot_s(e2e_s=e2e, ttft_s=ttft, output_tokens=request.output_tokens)
        met = request.slo.met(ttft_s=ttft, tpot_s=tpot, e2e_s=e2e)
        return cls(request, ttft, tpot, e2e, met, live.preemptions)
