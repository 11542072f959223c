"""``/predict``, ``/predict/bulk`` and ``/predict/bulk/strict``."""

from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from predictor.output_limits import OutputLimits
from serving.sidecar.schemas.base import (
    Answered,
    Asked,
    IgnoreEos,
    LeastTokens,
    LongName,
    Name,
    PositiveTokens,
    Tokens,
    example,
)

_PROMPT = {"prompt": "Write a haiku about the sea.", "slo_class": "chat", "max_tokens": 512}
_LENGTHS = [0, 16, 32, 64, 0.2, 0.5, 0.3]
_QUANTILES = {"0.1": 8, "0.25": 18, "0.5": 26, "0.75": 37, "0.9": 54, "0.95": 59, "0.99": 63}
_MODEL = {"name": "champion", "version": "e27d446a9db8", "kind": "lightgbm"}
_FORECAST = {
    "osl": 28,
    "mean": 28.4,
    "quantiles": _QUANTILES,
    "lengths": _LENGTHS,
    "source": "model",
}

MOST_PROMPTS = 10_000


class PromptIn(Asked):
    """One prompt; ``slo_class`` chooses the fallback.

    ``max_tokens`` cuts the forecast, ``min_tokens`` conditions it, and ``ignore_eos`` makes the
    limit the length.
    """

    model_config = example(_PROMPT)

    prompt: str = Field(description="the text as the model will see it")
    slo_class: Name = "chat"
    llm: LongName | None = Field(default=None, description="the LLM that will answer")
    temperature: float | None = Field(default=None, ge=0, le=100, description="how it will sample")
    input_tokens: Tokens | None = None
    max_tokens: PositiveTokens | None = None
    min_tokens: LeastTokens = 0
    ignore_eos: IgnoreEos = False

    def limits(self) -> OutputLimits:
        """What it says of its own length."""
        return OutputLimits(
            max_tokens=self.max_tokens, min_tokens=self.min_tokens, ignore_eos=self.ignore_eos
        )


class PromptsIn(Asked):
    """Many prompts, each refused by itself if it is wrong."""

    model_config = example({"prompts": [_PROMPT]})

    prompts: Annotated[
        list[Any],
        Field(min_length=1, max_length=MOST_PROMPTS),
        WithJsonSchema(
            {
                "type": "array",
                "items": {"$ref": "#/components/schemas/PromptIn"},
                "minItems": 1,
                "maxItems": MOST_PROMPTS,
            }
        ),
    ]


class StrictPromptsIn(Asked):
    """Many prompts, refused together if one is wrong."""

    model_config = example({"prompts": [_PROMPT]})

    prompts: list[PromptIn] = Field(min_length=1, max_length=MOST_PROMPTS, fail_fast=True)


class Model(Answered):
    """Which model answered; of the class's prior the kind is ``prior``."""

    name: str
    version: str
    kind: str


class ForecastOut(Answered):
    """Predicted output tokens of one prompt.

    ``osl`` is the rounded mean, for routers that want one number (Dynamo's
    ``nvext.agent_hints.osl``). ``lengths`` is the compact distribution, just as ``/schedule`` and
    ``vllm_xargs["slotwise_lengths"]`` take it. ``source`` says whether the model answered or,
    since it was late or failed, the class's prior did.
    """

    model_config = example(_FORECAST)

    osl: int
    mean: float
    quantiles: dict[str, int]
    lengths: list[float]
    source: Literal["model", "prior"]


class PredictOut(ForecastOut):
    """The forecast and who made it."""

    model_config = example({**_FORECAST, "model": _MODEL})

    model: Model


class ItemError(Answered):
    """Why a prompt has no forecast."""

    index: int
    error: str


class PredictionsOut(Answered):
    """Forecasts in the order of the prompts, ``null`` where ``errors`` says why."""

    model_config = example(
        {
            "predictions": [_FORECAST, None],
            "errors": [{"index": 1, "error": "prompt: field required"}],
            "model": _MODEL,
        }
    )

    predictions: list[ForecastOut | None]
    errors: list[ItemError]
    model: Model
