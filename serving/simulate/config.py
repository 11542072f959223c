"""What a simulation compares, and on what."""

from dataclasses import dataclass
from math import inf
from pathlib import Path

from predictor.errors import InputError
from scheduler.registry import check_policy
from scheduler.simulator.placement import Placement, PlacementSettings, create_placement
from serving.simulate.forecast import ForecastKind
from serving.simulate.published import published_names

WORKLOADS = ("sharegpt-code-chat", *published_names())


@dataclass(frozen=True, slots=True, kw_only=True)
class SimConfig:
    """Settings of ``slotwise simulate``; rates in requests per second.

    Either ``traces`` (``FILE`` or ``CLASS=FILE``, merged by time) or a ``workload`` by name.
    ``rate_scale`` makes arrivals so many times as frequent. With ``num_requests`` each seed
    replays a stretch of that many requests, from a place in the trace that the seed chooses.
    ``instances`` are engine profiles, one each. With placement ``slo-gain`` they say how they are
    every ``digest_period_s`` (0: whenever a request comes) and are heard ``digest_delay_s`` later.
    """

    policies: tuple[str, ...]
    instances: tuple[str, ...]
    traces: tuple[str, ...] = ()
    workload: str | None = None
    placement: str = "slo-gain"
    digest_period_s: float = 0.0
    digest_delay_s: float = 0.0
    forecast: str | None = None
    rate: float = 1.6
    rate_scale: float = 1.0
    num_requests: int | None = None
    seeds: int = 1
    seed: int = 0
    max_num_seqs: int | None = None
    kv_tokens: int | None = None
    slo_config: Path | None = None
    dataset_path: Path | None = None
    predictor: str | None = None
    model: str = "smollm2"
    output: Path = Path("build/simulate/result.json")

    def __post_init__(self) -> None:
        for name in self.policies:
            check_policy(name)
        if not self.policies or len(set(self.policies)) < len(self.policies):
            raise InputError(
                f"policies {','.join(self.policies) or 'none'}: name at least one, each once"
            )
        if not self.instances:
            raise InputError("no engine profile: give --engine-profile NAME or a folder")
        if bool(self.traces) == bool(self.workload):
            raise InputError("give either --trace or --workload, one of the two")
        if self.workload and self.workload not in WORKLOADS:
            raise InputError(f"workload {self.workload!r} is not known: use {', '.join(WORKLOADS)}")
        if not (0 < self.rate_scale < inf and 0 < self.rate < inf):
            raise InputError("--rate-scale and --rate must be positive, finite numbers")
        self.new_placement()
        ForecastKind.parse(self.forecast_kind)

    def new_placement(self) -> Placement:
        """For one run on these instances; raises ``InputError``."""
        return create_placement(
            PlacementSettings(self.placement, self.digest_period_s, self.digest_delay_s)
        )

    @property
    def forecast_kind(self) -> str:
        """The forecasts told to policies without ``-oracle``."""
        with_text = self.workload and self.workload not in published_names()
        return self.forecast or ("predicted" if with_text else "history")
