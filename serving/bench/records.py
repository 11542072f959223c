"""What a benchmark run leaves behind: one record per request and one run per policy."""

from dataclasses import dataclass, field
from typing import Literal

from serving.steplog import StepRecord

Status = Literal["ok", "rejected", "failed", "timeout"]


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request of one policy's run; seconds, measured by the client.

    ``arrival_s`` is when the trace says it arrives (from the start of the replay) and latencies
    count from there, so a client that sends late hides nothing. Latencies are ``None`` unless
    ``status`` is ``ok``. ``met`` is ``None`` for a class without a target; a rejected, failed
    or timed-out request with a target has ``met = False``.
    """

    request_id: str
    slo_class: str
    arrival_s: float
    prompt_tokens: int
    recorded_tokens: int
    status: Status
    output_tokens: int = 0
    ttft_s: float | None = None
    tpot_s: float | None = None
    e2e_s: float | None = None
    met: bool | None = None
    error: str | None = None
    predicted_mean_tokens: float | None = None
    predicted_p90_tokens: float | None = None
    prediction_s: float | None = None


@dataclass(frozen=True, slots=True)
class PolicyRun:
    """All that one policy's engine process and its client saw.

    ``steps`` has one entry per engine iteration (``serving.steplog``); ``error`` says why the run
    ended early, with the records gathered so far kept. ``other_cpu_share`` is what other
    processes took of the machine meanwhile, where that can be seen.
    """

    policy: str
    records: tuple[RequestRecord, ...]
    steps: tuple[StepRecord, ...] = field(default=())
    duration_s: float = 0.0
    fallbacks: int = 0
    other_cpu_share: float | None = None
    error: str | None = None
