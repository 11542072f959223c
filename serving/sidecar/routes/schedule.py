"""``/schedule``: who is served next, and why."""

import time

from fastapi import APIRouter
from starlette.responses import Response

from serving.sidecar.json_response import JsonResponse
from serving.sidecar.routes.shared import BODY_ERRORS, Used, errors, new_router
from serving.sidecar.schemas.schedule import ScheduleIn, ScheduleOut


def router() -> APIRouter:
    """The endpoint."""
    routes = new_router("scheduling")

    @routes.post("/schedule", response_model=ScheduleOut, responses=errors(*BODY_ERRORS, 503))
    async def schedule(asked: ScheduleIn, used: Used) -> Response:
        """Decide for engines as they are: order, preemptions, assignment, and the reasons.

        The same policy objects as inside an engine. Of an engine's earlier snapshots arrival
        times, the standing plan and the price of its capacity are remembered by its name. A policy
        is compiled when it is first asked for: 503 with ``Retry-After`` where that takes long.
        """
        began_s = time.perf_counter()
        with used.traces.span("schedule", instances=len(asked.instances)):
            decided = await used.decisions.decide(asked)
        decision = decided.decision
        metrics = used.metrics
        metrics.schedule_seconds.observe(time.perf_counter() - began_s)
        metrics.schedule_waiting.observe(sum(len(each.order) for each in decision.instances))
        metrics.schedule_fallbacks.inc(sum(each.fallback for each in decision.instances))
        used.live.decided(decision)
        return JsonResponse(decided.encoded)

    return routes
