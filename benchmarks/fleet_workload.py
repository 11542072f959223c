"""What two replicas are sent in ``fleet_routing``, real ones, and in ``fleet_simulated``.

ShareGPT test conversations, half code, half chat, one in six (drawn) a long batch job; answers as
long as recorded (those of 256 tokens at most), and what the packaged predictor says of them.
"""

from dataclasses import dataclass

import numpy as np

from predictor.distribution import LengthDistribution
from predictor.protocol import LengthPredictor
from scheduler.registry import PolicyName
from scheduler.slo import Slo, SloClass
from serving.bench.config import BenchConfig
from serving.bench.forecast import Forecast, forecasts
from serving.bench.workload import bench_requests
from serving.predictors import find_predictor
from serving.train import token_counter
from training.tokens import TokenCounter
from training.workload import WorkloadRequest

MODEL = "smollm2"
CLASSES = {
    "code": SloClass("code", Slo(e2e_s=24.0)),
    "chat": SloClass("chat", Slo(ttft_s=4.0, tpot_s=0.2)),
    "batch": SloClass("batch", Slo(e2e_s=240.0)),
}
_BATCH_SHARE = 1 / 6
# Of an output; what each request allows.
MOST_TOKENS = 256
_POLICY = PolicyName.parse("slotwise")


@dataclass(frozen=True, slots=True)
class FleetRequest:
    """``promised`` is a class of :data:`CLASSES`; ``asked`` has the class by what it asks."""

    asked: WorkloadRequest
    promised: str
    lengths: LengthDistribution


@dataclass(frozen=True, slots=True)
class FleetWorkload:
    """The same seed gives the same requests."""

    counter: TokenCounter
    predictor: LengthPredictor

    @classmethod
    def packaged(cls) -> "FleetWorkload":
        """By the model's tokens and the packaged predictor."""
        return cls(token_counter(MODEL), find_predictor("packaged"))

    def requests(self, count: int, rate: float, seed: int) -> list[FleetRequest]:
        """So many, ``rate`` a second."""
        config = BenchConfig(
            policies=(_POLICY.full,),
            model=MODEL,
            num_prompts=count,
            request_rate=rate,
            max_output_tokens=MOST_TOKENS,
            seed=seed,
        )
        found, _ = bench_requests(config, self.counter)
        rng = np.random.default_rng(seed)
        requests = []
        for request, forecast in zip(found, self._forecasts(found), strict=True):
            assert forecast.lengths is not None
            promised = "batch" if rng.random() < _BATCH_SHARE else request.slo_class
            requests.append(FleetRequest(request, promised, forecast.lengths))
        return requests

    def _forecasts(self, found: list[WorkloadRequest]) -> list[Forecast]:
        return forecasts(_POLICY, found, self.predictor, limit=_cap, truth=_cap)


def _cap(_: WorkloadRequest) -> int:
    return MOST_TOKENS
