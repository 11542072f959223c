"""Measured against simulated: the same requests on a recorded engine and on its profile."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from predictor.distribution import LengthDistribution
from scheduler.driver import Driver
from scheduler.registry import create_policy
from scheduler.simulator.cluster import serve
from scheduler.simulator.engine import SimulatedEngine
from scheduler.simulator.profiles import EngineProfile, load_profile
from scheduler.simulator.recorded import METRICS, STATISTICS, RecordedRequest, read_recorded
from scheduler.simulator.request import SimRequest
from scheduler.slo import Slo


@dataclass(frozen=True, slots=True)
class Comparison:
    """One statistic of one metric, seconds; ``error`` as a fraction of the measured."""

    measured: float
    simulated: float

    @property
    def error(self) -> float:
        """(simulated - measured) / measured."""
        return (self.simulated - self.measured) / self.measured if self.measured else 0.0


def validate(folder: Path) -> dict[str, dict[str, Comparison]]:
    """Replay a recorded run on its own profile; comparisons by metric and statistic.

    Nothing is fitted to the run: only its kernel tables and engine settings are read.
    """
    recorded = read_recorded(folder)
    simulated = replay(recorded, load_profile(str(folder)))
    return {
        metric: {
            statistic: Comparison(
                measured=summarise(np.array([value(request) for request in recorded])),
                simulated=summarise(np.array([value(request) for request in simulated])),
            )
            for statistic, summarise in STATISTICS.items()
        }
        for metric, value in METRICS.items()
    }


def replay(recorded: Sequence[RecordedRequest], profile: EngineProfile) -> list[RecordedRequest]:
    """Serve recorded requests first come, first served on a simulated engine."""
    policy = create_policy("priority" if profile.rules.by_priority else "fcfs")
    driver = Driver(
        policy=policy, limits=profile.limits, latency=profile.latency(), time_box_s=np.inf
    )
    engine = SimulatedEngine(
        driver=driver,
        limits=profile.limits,
        step_time=profile.step_time,
        rules=profile.rules,
        memory_bound=profile.memory_bound,
    )
    outcomes = serve([engine], [_request(request) for request in recorded])
    return [
        RecordedRequest(
            request_id=outcome.request.request_id,
            arrival_s=outcome.request.arrival_s,
            prompt_tokens=outcome.request.prompt_tokens,
            output_tokens=outcome.request.output_tokens,
            ttft_s=outcome.ttft_s,
            e2e_s=outcome.e2e_s,
        )
        for outcome in outcomes
    ]


def _request(recorded: RecordedRequest) -> SimRequest:
    return SimRequest(
        request_id=recorded.request_id,
        arrival_s=recorded.arrival_s,
        prompt_tokens=recorded.prompt_tokens,
        output_tokens=recorded.output_tokens,
        slo=Slo(),
        lengths=LengthDistribution.point(recorded.output_tokens),
    )
