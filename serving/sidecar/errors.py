"""Errors in the shape of OpenAI's, from one place. They never repeat what the client sent."""

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from predictor.errors import (
    DistributionError,
    InputError,
    PredictionError,
    SlotwiseError,
    SnapshotError,
    StoreError,
)
from serving.sidecar.json_response import JsonResponse

logger = logging.getLogger(__name__)


class BusyError(SlotwiseError):
    """Not now: too much waits already, or what it takes is not there yet."""


_KINDS = {401: "authentication_error", 404: "not_found_error", 405: "invalid_request_error"}


def error_response(status: int, message: str, *, param: str | None = None) -> Response:
    """One error."""
    kind = _KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")
    headers = {"www-authenticate": "Bearer"} if status == 401 else {}
    if status == 503:
        headers["retry-after"] = "1"
    body = {"error": {"message": message, "type": kind, "param": param, "code": status}}
    return JsonResponse(body, status_code=status, headers=headers)


def add_error_handlers(app: FastAPI) -> None:
    """Turn our exceptions and the framework's into answers."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    for kind, status in (
        (InputError, 422),
        (DistributionError, 422),
        (SnapshotError, 422),
        (PredictionError, 409),
        (StoreError, 503),
        (BusyError, 503),
    ):
        app.add_exception_handler(kind, _ours(status))


def explain(fault: dict[str, Any] | Any, *, skip: int = 0) -> tuple[str, str]:
    """The field at fault, without its first ``skip`` parts, and what is wrong with it."""
    param = ".".join(str(part) for part in fault["loc"][skip:]) or "body"
    said = str(fault["msg"]).removeprefix("Value error, ")
    return param, f"{param}: {said[:1].lower()}{said[1:]}"


def _ours(status: int) -> Any:
    async def answer(_: Request, error: Exception) -> Response:
        if status >= 500:
            logger.error("%s", error)
        return error_response(status, str(error))

    return answer


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults: Any = error.errors()
    if faults[0]["type"] == "json_invalid":
        return error_response(400, "the body is not valid JSON", param="body")
    param, message = explain(faults[0], skip=1)
    more = f" ({len(faults) - 1} more like it)" if len(faults) > 1 else ""
    return error_response(422, message + more, param=param)


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = "the body cannot be read" if error.status_code == 400 else str(error.detail)
    response = error_response(error.status_code, said)
    response.headers.update(error.headers or {})
    return response
