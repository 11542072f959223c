"""Load and targets of a benchmark, in seconds and as multiples of the engine's own speed."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import inf

from serving.bench.config import BenchConfig
from serving.bench.speed import EngineSpeed
from serving.slo_config import DEFAULT, ClassTargets, SloConfig
from training.workload import WorkloadRequest

_TPOT = "tpot_ms"
_TARGETS = ("ttft_ms", _TPOT, "e2e_ms")
# The built-in classes under a relative load: TTFT and E2E in units of the time that the mean
# request takes in a full batch, TPOT in units of a decode step.
_MULTIPLES: Mapping[str, Mapping[str, float]] = {
    "code": {"e2e_ms": 2.0},
    "chat": {"ttft_ms": 0.5, _TPOT: 2.0},
}


@dataclass(frozen=True, slots=True)
class Pace:
    """``load`` is ``request_rate`` (a second) as a multiple of what the engine carries.

    ``request_s`` is how long the mean request takes in a full batch, without a wait, ``capacity``
    how many such requests a second the engine carries.
    """

    speed: EngineSpeed
    request_s: float
    capacity: float
    request_rate: float
    load: float
    slo_config: SloConfig

    @classmethod
    def of(
        cls,
        config: BenchConfig,
        slo_config: SloConfig,
        speed: EngineSpeed,
        requests: Sequence[WorkloadRequest],
    ) -> "Pace":
        """Settle the rate, and the built-in targets, of a relative load; else those configured."""
        capacity, request_s = speed.capacity(requests), speed.request_s(requests)
        if config.load is None:
            rate = config.request_rate
            return cls(speed, request_s, capacity, rate, rate / capacity, slo_config)
        if config.slo_config is None:
            slo_config = _scaled(speed, request_s)
        return cls(speed, request_s, capacity, config.load * capacity, config.load, slo_config)

    def arrivals(
        self, config: BenchConfig, requests: Sequence[WorkloadRequest]
    ) -> Sequence[WorkloadRequest]:
        """The requests at this pace; they were sampled at the rate of ``config``."""
        if config.load is None:
            return requests
        factor = config.request_rate / self.request_rate
        return [replace(each, arrival_s=each.arrival_s * factor) for each in requests]

    def facts(self) -> dict[str, object]:
        """For the result file: seconds, and multiples of the engine's own speed beside them."""
        return {
            "request_rate": _finite(self.request_rate),
            "load": _finite(self.load),
            "engine_speed": {
                **asdict(self.speed),
                "request_s": self.request_s,
                "capacity": self.capacity,
            },
            "slo_classes": self.slo_config.document(),
            "relative_targets": {
                name: {
                    target.removesuffix("_ms"): ms
                    / 1e3
                    / _unit_s(target, self.speed, self.request_s)
                    for target, ms in _given(targets).items()
                }
                for name, targets in self.slo_config.classes.items()
            },
        }

    def summary(self) -> str:
        """For the user, in one line."""
        targets = "; ".join(
            f"{name} {', '.join(_said(target, ms) for target, ms in _given(given).items())}"
            for name, given in self.slo_config.classes.items()
        )
        speed = self.speed
        return (
            f"this engine decodes {speed.batch} at once in {speed.decode_step_s * 1e3:.0f} ms, "
            f"prefills {1 / speed.prefill_token_s:,.0f} tokens/s and carries "
            f"{self.capacity:.2g} requests/s of these; load {self.load:.2g}: "
            f"{self.request_rate:.2g} requests/s; targets: {targets}"
        )


def _scaled(speed: EngineSpeed, request_s: float) -> SloConfig:
    """The built-in classes with their multiples of the engine's speed."""
    classes = {
        name: targets.model_copy(
            update={
                target: multiple * _unit_s(target, speed, request_s) * 1e3
                for target, multiple in _MULTIPLES[name].items()
            }
        )
        for name, targets in DEFAULT.classes.items()
    }
    return DEFAULT.model_copy(update={"classes": classes})


def _unit_s(target: str, speed: EngineSpeed, request_s: float) -> float:
    return speed.decode_step_s if target == _TPOT else request_s


def _given(targets: ClassTargets) -> dict[str, float]:
    """Milliseconds of the targets that a class has."""
    found = {target: getattr(targets, target) for target in _TARGETS}
    return {target: ms for target, ms in found.items() if ms is not None}


def _finite(value: float) -> float | str:
    """JSON knows no infinity."""
    return str(value) if value == inf else value


def _said(target: str, ms: float) -> str:
    name = target.removesuffix("_ms").upper()
    return f"{name} {ms / 1e3:.3g} s" if ms >= 1e3 else f"{name} {ms:.0f} ms"
