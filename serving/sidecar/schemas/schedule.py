"""``/schedule``: engines as they are, and what to do."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from predictor.output_limits import OutputLimits
from serving.sidecar.schemas.base import (
    Asked,
    FlatLengths,
    IgnoreEos,
    LeastTokens,
    LongName,
    Milliseconds,
    Name,
    PositiveTokens,
    Target,
    Tokens,
    example,
)

StepTime = Annotated[float, Field(gt=0, le=3_600_000)]

# On one engine, or on none; and in one body. A decision takes some 30 us for each.
MOST_REQUESTS = 5_000
MOST_IN_ALL = 20_000
# All forecasts of a body together; /predict tells one in 65.
MOST_NUMBERS = 2_000_000

_REQUEST = {
    "id": "a",
    "slo_class": "chat",
    "waited_ms": 1200,
    "prompt_tokens": 120,
    "max_tokens": 512,
    "lengths": [0, 16, 64, 256, 0.2, 0.5, 0.3],
}
_INSTANCE = {
    "name": "engine-0",
    "max_num_seqs": 1,
    "engine_profile": "h100-llama-3.1-8b",
    "requests": [
        {**_REQUEST, "id": "r", "state": "running", "generated": 20, "first_token_ms": 300},
        _REQUEST,
    ],
}


class LatencyIn(Asked):
    """What a step takes: a constant, and so much for each answer and token.

    ``prefill_step_ms`` is the constant of a step with a prefill, where it is larger.
    """

    step_ms: StepTime
    decode_ms: Milliseconds = 0.0
    context_token_ms: Milliseconds = 0.0
    prompt_token_ms: Milliseconds = 0.0
    prefill_step_ms: StepTime | None = None


class RequestIn(Asked):
    """One live request.

    Times are durations, so nobody's clock matters: ``waited_ms`` since it arrived,
    ``first_token_ms`` from its arrival to its first token. Targets that are left out are those of
    the class, or of the default class without one. ``lengths`` is what ``/predict`` answered;
    without it the class's prior counts. Either is taken within ``max_tokens``, ``min_tokens`` and
    ``ignore_eos``.
    """

    id: LongName
    state: Literal["waiting", "running"] = "waiting"
    slo_class: Name | None = None
    ttft_ms: Target | None = None
    tpot_ms: Target | None = None
    e2e_ms: Target | None = None
    priority: int | None = Field(
        default=None, ge=-(2**31), le=2**31, description="lower is earlier"
    )
    waited_ms: Milliseconds
    prompt_tokens: Tokens
    max_tokens: PositiveTokens = 16_384
    min_tokens: LeastTokens = 0
    ignore_eos: IgnoreEos = False
    generated: Tokens = 0
    prefill_left: Tokens | None = Field(
        default=None, description="tokens to compute before the next one; default: 0 if running"
    )
    first_token_ms: Milliseconds | None = None
    preemptions: int = Field(default=0, ge=0, le=10**6)
    lengths: FlatLengths | None = None

    def limits(self) -> OutputLimits:
        """What it says of its own length."""
        return OutputLimits(
            max_tokens=self.max_tokens, min_tokens=self.min_tokens, ignore_eos=self.ignore_eos
        )

    @model_validator(mode="after")
    def _first_token(self) -> Self:
        if self.first_token_ms is not None and self.first_token_ms > self.waited_ms:
            raise ValueError("first_token_ms lies after now: it counts from the arrival")
        return self


class InstanceIn(Asked):
    """One engine: its limits, how fast it steps, and everybody on it."""

    name: Name
    max_num_seqs: int = Field(ge=1, le=65_536)
    max_batched_tokens: int = Field(default=8192, ge=1, le=2**31 - 1)
    kv_tokens: int = Field(default=10**9, ge=1, le=10**12, description="what the KV cache holds")
    kv_tokens_free: int | None = Field(default=None, ge=0, le=10**12)
    engine_profile: Name | None = Field(default=None, description="step times by name")
    latency: LatencyIn | None = Field(default=None, description="step times by coefficients")
    requests: list[RequestIn] = Field(
        default_factory=list, max_length=MOST_REQUESTS, fail_fast=True
    )

    @model_validator(mode="after")
    def _one_step_time(self) -> Self:
        if (self.engine_profile is None) == (self.latency is None):
            raise ValueError("give either engine_profile or latency")
        running = sum(request.state == "running" for request in self.requests)
        if running > self.max_num_seqs:
            raise ValueError(f"{running} requests run in {self.max_num_seqs} slots")
        return self


class ScheduleIn(Asked):
    """Engines, and requests that are on none of them yet."""

    model_config = example({"policy": "slotwise", "instances": [_INSTANCE]})

    policy: Name | None = Field(default=None, description="default: the server's")
    instances: list[InstanceIn] = Field(min_length=1, max_length=64, fail_fast=True)
    unassigned: list[RequestIn] = Field(
        default_factory=list, max_length=MOST_REQUESTS, fail_fast=True
    )

    @model_validator(mode="before")
    @classmethod
    def _bounded(cls, given: Any) -> Any:
        """Before anything is validated: that takes 30 us for each request of a body."""
        groups = _request_groups(given)
        count = sum(map(len, groups))
        if count > MOST_IN_ALL:
            raise ValueError(f"{count} requests; at most {MOST_IN_ALL} in one body")
        numbers = sum(_numbers(request) for requests in groups for request in requests)
        if numbers > MOST_NUMBERS:
            raise ValueError(
                f"{numbers} numbers in lengths; at most {MOST_NUMBERS} in one body: give fewer bins"
            )
        return given


def _request_groups(given: Any) -> list[list[Any]]:
    """The lists of requests in a body as it came."""
    if not isinstance(given, dict):
        return []
    instances = given.get("instances")
    holders = instances if isinstance(instances, list) else []
    lists = [each.get("requests") for each in holders if isinstance(each, dict)]
    return [each for each in (given.get("unassigned"), *lists) if isinstance(each, list)]


def _numbers(request: Any) -> int:
    lengths = request.get("lengths") if isinstance(request, dict) else None
    return len(lengths) if isinstance(lengths, list) else 0


ReasonCode = Literal[
    "keeps_slot",
    "gives_way",
    "gets_slot",
    "held_for_memory",
    "after_others",
    "relegated",
    "promise_lost",
    "can_wait",
    "outranked",
    "nothing_promised",
]


# Plain dataclasses: a decision holds hundreds of them, and they are encoded as they are.
@dataclass(slots=True)
class ReasonOut:
    """Why a request stands where it stands."""

    code: ReasonCode
    text: str


@dataclass(slots=True)
class PlaceOut:
    """One request's place: by expected lengths it begins and ends then, in that slot.

    ``chance`` is that of keeping its promise so, ``chance_now`` if it began at once; ``null``
    without a promise.
    """

    id: str
    slo_class: str
    runs: bool
    slot: int
    begin_ms: float
    end_ms: float
    chance: float | None
    chance_now: float | None
    reason: ReasonOut


@dataclass(slots=True)
class DecisionOut:
    """What one engine does in its next step.

    ``order``: everybody who waits, first served first. ``preempt``: who gives up a slot now (and
    stands in ``order``). ``held``: who must not be admitted, and whose begun prompt sits out the
    step. ``token_budget``: its tokens, ``null`` for the engine's own limit. ``fallback``: the
    policy failed or was late, and this is the order of arrival.
    """

    name: str
    order: list[str]
    preempt: list[str]
    held: list[str]
    relegated: list[str]
    token_budget: int | None
    fallback: bool
    expected_attainment: float | None
    places: list[PlaceOut]


@dataclass(slots=True)
class ScheduleOut:
    """Decisions by engine, and the engine of each request that was unassigned."""

    policy: str
    instances: list[DecisionOut]
    assignment: dict[str, str]
    expected_attainment: float | None
    decision_ms: float
