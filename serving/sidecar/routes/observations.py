"""``/observations``: what became of requests."""

from fastapi import APIRouter
from starlette.responses import Response

from serving.sidecar.json_response import JsonResponse
from serving.sidecar.routes.shared import BODY_ERRORS, Used, errors, new_router
from serving.sidecar.schemas.observation import ObservationsIn, ObservationsOut


def router() -> APIRouter:
    """The endpoint."""
    routes = new_router("observations")

    @routes.post(
        "/observations",
        status_code=202,
        response_model=ObservationsOut,
        responses=errors(*BODY_ERRORS, 503),
    )
    async def observe(asked: ObservationsIn, used: Used) -> Response:
        """Keep finished requests. Once acknowledged they survive the death of this process."""
        rows, outcome = await used.recorder.record(asked.observations)
        ids = [row.id for row in rows]
        accepted = 0 if outcome == "refused" else len(rows)
        return JsonResponse({"accepted": accepted, "outcome": outcome, "ids": ids}, status_code=202)

    return routes
