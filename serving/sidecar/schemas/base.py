"""What all messages share."""

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from scheduler.slo import Slo

# No message of ours has half as many.
_MOST_KEYS = 64


class Asked(BaseModel):
    """From outside: unknown keys are errors, numbers are finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _few_keys(cls, given: Any) -> Any:
        """Each unknown key is an error of its own: millions of them would take seconds."""
        if isinstance(given, dict) and len(given) > _MOST_KEYS:
            raise ValueError(f"{len(given)} keys; known are: {', '.join(cls.model_fields)}")
        return given


class Answered(BaseModel):
    """From us: a client reads what it knows, newer servers may say more."""

    model_config = ConfigDict(extra="ignore", frozen=True)


def _without_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("a NUL character is not allowed")
    return text


def example(content: dict[str, Any]) -> ConfigDict:
    """The example that the OpenAPI document shows."""
    return ConfigDict(json_schema_extra={"examples": [content]})


PlainText = Annotated[str, AfterValidator(_without_nul)]
Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]+$"),
]
LongName = Annotated[
    str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")
]
Tokens = Annotated[int, Field(ge=0, le=2**31 - 1)]
PositiveTokens = Annotated[int, Field(ge=1, le=2**31 - 1)]
# The engine ends no output before; 0 and 1 say nothing.
LeastTokens = Annotated[int, Field(ge=0, le=2**31 - 1, description="`min_tokens` of the request")]
IgnoreEos = Annotated[bool, Field(description="`ignore_eos` of the request")]
# A year: longer is a mistake in the unit.
Milliseconds = Annotated[float, Field(ge=0, le=31_536_000_000)]
# Batch gateways send what is left of a promise: nothing is left of some.
Target = Annotated[float, Field(ge=0, le=31_536_000_000)]
_SOONEST_S = 1e-9
# Not looked into here: thousands of numbers are checked faster together, as arrays.
FlatLengths = Annotated[
    Any,
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "number"},
            "minItems": 3,
            "maxItems": 8193,
            "description": "B + 1 rising bin edges in tokens, then B probabilities that sum to 1: "
            "bin b holds edges[b] < n <= edges[b + 1]",
        }
    ),
]


def seconds(milliseconds: float | None) -> float | None:
    """A time measured."""
    return None if milliseconds is None else milliseconds / 1e3


def target_seconds(milliseconds: float | None) -> float | None:
    """A time promised: at least a moment, since targets are positive."""
    return None if milliseconds is None else max(milliseconds / 1e3, _SOONEST_S)


def slo_of(ttft_ms: float | None, tpot_ms: float | None, e2e_ms: float | None) -> Slo:
    """The targets that a request states itself."""
    return Slo(
        ttft_s=target_seconds(ttft_ms),
        tpot_s=target_seconds(tpot_ms),
        e2e_s=target_seconds(e2e_ms),
    )
