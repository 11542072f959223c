"""What the endpoints have in common."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from serving.sidecar.json_response import FastRoute, JsonResponse
from serving.sidecar.schemas.status import ErrorOut
from serving.sidecar.services import Services


async def services_of(request: Request) -> Services:
    """The application's; asynchronous, since the framework sends other functions to a thread."""
    found: Services = request.app.state.services
    return found


Used = Annotated[Services, Depends(services_of)]

_SAID = {
    400: "no JSON",
    401: "no or a wrong token",
    408: "the body came too slowly",
    409: "nothing changed",
    413: "the body is too large",
    422: "a field is wrong",
    503: "not at the moment",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Documents the errors of an endpoint."""
    return {status: {"model": ErrorOut, "description": _SAID[status]} for status in statuses}


BODY_ERRORS = (400, 401, 408, 413, 422)


def new_router(tag: str) -> APIRouter:
    """A router whose bodies and answers are read and written fast."""
    return APIRouter(tags=[tag], route_class=FastRoute, default_response_class=JsonResponse)
