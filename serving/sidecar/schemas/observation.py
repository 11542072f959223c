"""``/observations``: what became of requests."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from serving.sidecar.schemas.base import (
    Answered,
    Asked,
    FlatLengths,
    IgnoreEos,
    LeastTokens,
    LongName,
    Milliseconds,
    Name,
    PlainText,
    PositiveTokens,
    Target,
    Tokens,
    example,
)

MOST_OBSERVATIONS = 1_000
MOST_ANSWERS = 10_000

_OBSERVATION = {
    "id": "chatcmpl-1",
    "slo_class": "chat",
    "output_tokens": 61,
    "lengths": [0, 16, 32, 64, 0.2, 0.5, 0.3],
    "ttft_ms": 310,
    "e2e_ms": 2410,
}


class ObservationIn(Asked):
    """One finished request.

    ``id`` makes sending it again harmless. TPOT is (e2e - TTFT) / (n - 1), 0 for one token.
    Targets that are left out are those of the class, or of the default class without one; a request
    without any target is kept, but counts for no attainment. A length that the request forced
    (``ignore_eos``, ``min_tokens``) says nothing about the predictor. ``prompt`` is dropped unless
    the server was told to store prompts.
    """

    model_config = example(_OBSERVATION)

    id: Annotated[Name, Field(description="drawn if left out")] | None = None
    at_unix_ms: float | None = Field(default=None, ge=0, le=4e12, description="when it ended")
    slo_class: Name | None = None
    llm: LongName | None = None
    input_tokens: Tokens | None = None
    output_tokens: PositiveTokens = Field(description="of all answers together")
    answers: int = Field(default=1, ge=1, le=MOST_ANSWERS, description="`n` of the request")
    lengths: FlatLengths | None = Field(
        default=None, description="the distribution that was predicted; of one answer only"
    )
    min_tokens: LeastTokens = 0
    ignore_eos: IgnoreEos = False
    source: Literal["model", "prior"] | None = None
    model_name: LongName | None = None
    model_version: Name | None = None
    ttft_ms: Milliseconds | None = None
    e2e_ms: Milliseconds | None = None
    slo_ttft_ms: Target | None = None
    slo_tpot_ms: Target | None = None
    slo_e2e_ms: Target | None = None
    prompt: PlainText | None = Field(default=None, max_length=200_000)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.ttft_ms is not None and self.e2e_ms is not None and self.ttft_ms > self.e2e_ms:
            raise ValueError("ttft_ms is larger than e2e_ms")
        if self.answers > 1 and self.lengths is not None:
            raise ValueError("lengths forecast one answer: leave them out where there are several")
        if self.output_tokens < self.answers:
            raise ValueError("output_tokens is smaller than answers: each has at least one")
        return self


class ObservationsIn(Asked):
    """Finished requests, stored together or refused together."""

    model_config = example({"observations": [_OBSERVATION]})

    observations: list[ObservationIn] = Field(
        min_length=1, max_length=MOST_OBSERVATIONS, fail_fast=True
    )


class ObservationsOut(Answered):
    """Kept for good: ``stored`` in the database, or ``spooled`` on disk until that is back.

    ``refused``: the database takes none of them for what is in them; they lie beside the spool.
    """

    model_config = example({"accepted": 1, "outcome": "stored", "ids": ["chatcmpl-1"]})

    accepted: int
    outcome: Literal["stored", "spooled", "refused"]
    ids: list[str]
