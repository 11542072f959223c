"""A request of a simulation, and what became of it."""

from collections.abc import Iterable
from dataclasses import dataclass

from predictor.distribution import LengthDistribution
from scheduler.slo import Slo, tpot_s
from scheduler.tracker import Arrival

# What clients allow where nothing else is said.
_USUAL_LIMIT = 8192


def ordinary_limit(output_tokens: Iterable[int]) -> int:
    """One ``max_tokens`` for all requests of a workload, so that it tells nothing of any one."""
    longest = max(output_tokens, default=1)
    return max(_USUAL_LIMIT, 1 << (longest - 1).bit_length())


@dataclass(frozen=True, slots=True)
class SimRequest:
    """What arrives: ``output_tokens`` is the true length, ``lengths`` what the policy is told.

    ``prefix_tokens`` of the prompt are cached beforehand (where the engine caches at all);
    ``max_tokens`` is what the client allowed: policies see it, so it must not follow from the
    true length (:func:`ordinary_limit`).
    """

    request_id: str
    arrival_s: float
    prompt_tokens: int
    output_tokens: int
    slo: Slo
    lengths: LengthDistribution
    slo_class: str = ""
    priority: int = 0
    prefix_tokens: int = 0
    max_tokens: int = _USUAL_LIMIT

    def arrival(self) -> Arrival:
        """As a tracker sees it."""
        return Arrival(
            request_id=self.request_id,
            arrival_s=self.arrival_s,
            prompt_tokens=self.prompt_tokens,
            max_tokens=self.max_tokens,
            slo=self.slo,
            lengths=self.lengths,
            priority=self.priority,
        )


@dataclass(frozen=True, slots=True)
class SimOutcome:
    """How a request fared; seconds from its arrival, and which instance served it."""

    request: SimRequest
    ttft_s: float
    tpot_s: float
    e2e_s: float
    met: bool
    preemptions: int
    instance: int = 0

    @classmethod
    def of(
        cls,
        request: SimRequest,
        *,
        first_token_s: float,
        finish_s: float,
        preemptions: int,
        instance: int = 0,
    ) -> "SimOutcome":
        """Measure a request from the absolute times of its first and last token."""
        ttft = first_token_s - request.arrival_s
        e2e = finish_s - request.arrival_s
        tpot = tpot_s(e2e_s=e2e, ttft_s=ttft, output_tokens=request.output_tokens)
        met = request.slo.met(ttft_s=ttft, tpot_s=tpot, e2e_s=e2e)
        return cls(request, ttft, tpot, e2e, met, preemptions, instance)
