"""``/predict``: how long answers will be."""

import time
from collections.abc import Sequence

import orjson
from fastapi import APIRouter
from pydantic import ValidationError
from starlette.responses import Response

from predictor.errors import InputError
from predictor.prompt import Prompt
from serving.prediction.forecast import Forecast
from serving.sidecar.errors import explain
from serving.sidecar.json_response import JsonResponse
from serving.sidecar.routes.shared import BODY_ERRORS, Used, errors, new_router
from serving.sidecar.schemas.predict import (
    PredictionsOut,
    PredictOut,
    PromptIn,
    PromptsIn,
    StrictPromptsIn,
)
from serving.sidecar.services import Services
from serving.turns import in_turns


def router() -> APIRouter:
    """The endpoints."""
    routes = new_router("prediction")

    @routes.post("/predict", response_model=PredictOut, responses=errors(*BODY_ERRORS))
    async def predict(asked: PromptIn, used: Used) -> Response:
        """Forecast one answer's length."""
        began_s = time.perf_counter()
        _check_size(used, [asked])
        with used.traces.span("predict", items=1):
            forecast = await used.predictions.one(_prompt(asked))
        forecast = forecast.within(asked.limits())
        used.metrics.prediction_seconds.observe(time.perf_counter() - began_s)
        used.metrics.predictions.labels(forecast.source).inc()
        return JsonResponse(forecast.encoded(b',"model":' + used.predictions.info.encoded))

    @routes.post("/predict/bulk", response_model=PredictionsOut, responses=errors(*BODY_ERRORS))
    async def bulk(asked: PromptsIn, used: Used) -> Response:
        """Forecast many; a wrong item is answered with ``null`` and an error of its own."""
        _check_items(used, len(asked.prompts))
        prompts, faults = await _validated(asked.prompts, used.settings.max_prompt_characters)
        return await _many(used, prompts, faults)

    @routes.post(
        "/predict/bulk/strict", response_model=PredictionsOut, responses=errors(*BODY_ERRORS)
    )
    async def strict(asked: StrictPromptsIn, used: Used) -> Response:
        """Forecast many; one wrong item refuses them all."""
        _check_items(used, len(asked.prompts))
        _check_size(used, asked.prompts)
        return await _many(used, dict(enumerate(asked.prompts)), {})

    return routes


async def _many(used: Services, prompts: dict[int, PromptIn], faults: dict[int, str]) -> Response:
    with used.traces.span("predict", items=len(prompts)):
        found = await used.predictions.many([_prompt(each) for each in prompts.values()])
    forecasts: list[Forecast] = []
    async for some in in_turns(list(zip(found, prompts.values(), strict=True))):
        forecasts.extend(forecast.within(each.limits()) for forecast, each in some)
    for source in ("model", "prior"):
        count = sum(forecast.source == source for forecast in forecasts)
        used.metrics.predictions.labels(source).inc(count)
    by_index = dict(zip(prompts, forecasts, strict=True))
    total = len(prompts) + len(faults)
    return JsonResponse(
        b'{"predictions":['
        + b",".join(_encoded(by_index.get(index)) for index in range(total))
        + b'],"errors":'
        + orjson.dumps([{"index": i, "error": said} for i, said in sorted(faults.items())])
        + b',"model":'
        + used.predictions.info.encoded
        + b"}"
    )


async def _validated(items: list[object], limit: int) -> tuple[dict[int, PromptIn], dict[int, str]]:
    """Good items, and what is wrong with the others, by index."""
    good: dict[int, PromptIn] = {}
    faults: dict[int, str] = {}
    async for some in in_turns(list(enumerate(items))):
        for index, item in some:
            try:
                prompt = PromptIn.model_validate(item)
            except ValidationError as error:
                fault = error.errors(include_url=False, include_input=False)[0]
                faults[index] = explain(fault)[1]
                continue
            if len(prompt.prompt) > limit:
                faults[index] = f"prompt: longer than {limit} characters"
            else:
                good[index] = prompt
    return good, faults


def _check_items(used: Services, count: int) -> None:
    if count > used.settings.max_items:
        raise InputError(f"prompts: {count} items; this server takes {used.settings.max_items}")


def _check_size(used: Services, prompts: Sequence[PromptIn]) -> None:
    limit = used.settings.max_prompt_characters
    if max(len(each.prompt) for each in prompts) > limit:
        raise InputError(f"prompt: longer than {limit} characters")


def _prompt(asked: PromptIn) -> Prompt:
    return Prompt(
        text=asked.prompt,
        task=asked.slo_class,
        input_tokens=asked.input_tokens,
        max_tokens=asked.max_tokens,
        llm=asked.llm,
        temperature=asked.temperature,
    )


def _encoded(forecast: Forecast | None) -> bytes:
    return b"null" if forecast is None else forecast.encoded()
