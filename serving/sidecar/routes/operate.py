"""``/healthz``, ``/readyz``, ``/status``, ``/reload`` and ``/metrics``."""

import time
from importlib.metadata import version

from fastapi import APIRouter
from starlette.responses import Response

from predictor.errors import PredictionError
from serving.metrics import CONTENT_TYPE
from serving.sidecar.json_response import JsonResponse
from serving.sidecar.routes.shared import Used, errors, new_router
from serving.sidecar.schemas.status import HealthOut, ReadyOut, ReloadOut, StatusOut


def router() -> APIRouter:
    """The endpoints."""
    routes = new_router("operation")

    @routes.get("/healthz", response_model=HealthOut)
    async def healthz() -> Response:
        """Whether the process answers."""
        return JsonResponse({"status": "ok"})

    @routes.get("/readyz", response_model=ReadyOut, responses={503: {"model": ReadyOut}})
    async def readyz(used: Used) -> Response:
        """Whether forecasts are there, what makes them, and whether observations are stored.

        A thread for observations that has died is started again.
        """
        state, stores = used.predictions.state, used.writer.revive()
        ready = state != "none" and stores
        content = {"ready": ready, "state": state}
        if not stores:
            content["observations"] = False
        return JsonResponse(content, status_code=200 if ready else 503)

    @routes.get("/status", response_model=StatusOut, responses=errors(401))
    async def status(used: Used) -> Response:
        """Everything in one look."""
        return JsonResponse(
            {
                "version": version("slotwise"),
                "state": used.predictions.state,
                "model": used.predictions.info.to_dict(),
                "model_error": used.predictions.error,
                "predictor_processes": len(used.predictions.workers),
                "prediction_queue": used.predictions.queued,
                "policy": used.settings.policy,
                "slo_classes": used.classes.table.config.document(),
                "database": {
                    "backend": used.store.backend,
                    "up": used.writer.up,
                    "spooled": used.writer.spooled,
                    "refused": used.writer.refused,
                },
                "uptime_s": round(time.monotonic() - used.started_s, 1),
            }
        )

    @routes.post("/reload", response_model=ReloadOut, responses=errors(401, 409))
    async def reload(used: Used) -> Response:
        """Load the predictor's folder anew beside the model in force, check it, and swap.

        If it is damaged, missing or fails the canary batch: 409, and the old model goes on.
        """
        try:
            info = await used.predictions.reload()
        except PredictionError:
            used.metrics.reloads.labels("refused").inc()
            raise
        used.metrics.reloads.labels("ok").inc()
        return JsonResponse({"model": info.to_dict()})

    @routes.get("/metrics", response_class=Response, responses=errors(401))
    async def metrics(used: Used) -> Response:
        """For Prometheus."""
        return Response(used.metrics.rendered(), headers={"content-type": CONTENT_TYPE})

    return routes
