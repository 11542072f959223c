"""Small engines and requests for the scheduler's tests."""

from collections.abc import Callable

import pytest

from predictor.distribution import LengthDistribution, log_edges
from scheduler.latency import StepLatency
from scheduler.slo import Slo
from scheduler.snapshot import Limits
from scheduler.tracker import Arrival

LATENCY = StepLatency.linear(
    step_s=37e-3, decode_s=0.7e-3, context_token_s=1e-7, prefill_step_s=8e-3, prompt_token_s=0.5e-3
)
LIMITS = Limits(max_num_seqs=4, max_batched_tokens=512, kv_tokens=100_000)
CODE = Slo(e2e_s=30.0)
CHAT = Slo(ttft_s=5.0, tpot_s=0.1)


def flat(max_tokens: int = 512) -> LengthDistribution:
    """A forecast that knows nothing."""
    edges = log_edges(max_tokens=max_tokens, bins=16)
    return LengthDistribution(edges=edges, probabilities=[1 / (len(edges) - 1)] * (len(edges) - 1))


@pytest.fixture
def latency() -> StepLatency:
    return LATENCY


@pytest.fixture
def limits() -> Limits:
    return LIMITS


@pytest.fixture
def arrival() -> Callable[..., Arrival]:
    def make(request_id: str = "r", **changes: object) -> Arrival:
        fields: dict[str, object] = {
            "request_id": request_id,
            "arrival_s": 0.0,
            "prompt_tokens": 100,
            "max_tokens": 512,
            "slo": CODE,
            "lengths": flat(),
        }
        return Arrival(**{**fields, **changes})  # type: ignore[arg-type]

    return make
