"""``/status``, ``/healthz``, ``/readyz``, ``/reload``, and errors."""

from typing import Literal

from serving.sidecar.schemas.base import Answered, example
from serving.sidecar.schemas.predict import Model

State = Literal["trained", "fallback", "none"]


class HealthOut(Answered):
    """The process answers."""

    status: Literal["ok"] = "ok"


class ReadyOut(Answered):
    """``trained``: a model answers; ``fallback``: priors learned from finished requests do;
    ``none``: nothing has been learned (503). ``observations`` is false where nothing stores them
    (503).
    """

    model_config = example({"ready": True, "state": "trained"})

    ready: bool
    state: State
    observations: bool = True


class ReloadOut(Answered):
    """The model that answers now."""

    model: Model


class DatabaseOut(Answered):
    """Where observations go; ``refused`` counts those put aside since the start."""

    backend: str
    up: bool
    spooled: int
    refused: int = 0


class StatusOut(Answered):
    """Everything in one look."""

    version: str
    state: State
    model: Model
    model_error: str | None
    predictor_processes: int
    prediction_queue: int
    policy: str
    slo_classes: dict[str, dict[str, float | int]]
    database: DatabaseOut
    uptime_s: float


class ErrorBody(Answered):
    """What went wrong; ``param`` names the field."""

    message: str
    type: str
    param: str | None = None
    code: int


class ErrorOut(Answered):
    """Errors have the shape of OpenAI's."""

    model_config = example(
        {
            "error": {
                "message": "max_tokens: input should be greater than or equal to 1",
                "type": "invalid_request_error",
                "param": "max_tokens",
                "code": 422,
            }
        }
    )

    error: ErrorBody
