"""The requests of a simulation, with what each policy is told about them."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console

from predictor.distribution import LengthDistribution
from predictor.errors import InputError
from predictor.prompt import Prompt
from scheduler.simulator.profiles import EngineProfile, load_profile
from scheduler.simulator.request import SimRequest, ordinary_limit
from scheduler.slo import Slo
from serving.bench.config import BenchConfig
from serving.bench.workload import bench_requests
from serving.simulate.config import SimConfig
from serving.simulate.engines import engine_profiles
from serving.simulate.forecast import ForecastKind, Length, from_history, from_noise
from serving.simulate.published import kinds, poisson, published_names, published_rows
from serving.simulate.timed_length import TimedLength
from serving.slo_classes import ClassTable
from serving.slo_config import load as load_slo_config
from serving.train import ensure_predictor, token_counter
from training.trace import read_trace
from training.workload import WorkloadRequest

if TYPE_CHECKING:
    from predictor.reading import ReadReport

_SOME = 500


class SimWorkload:
    """Reads its source once and hands out the requests of one seed after the other."""

    def __init__(self, config: SimConfig, console: Console) -> None:
        self._config = config
        self._console = console
        self._kind = ForecastKind.parse(config.forecast_kind)
        self._published = config.workload in published_names()
        if self._published and config.slo_config is not None:
            raise InputError(f"--slo-config: workload {config.workload} has promises of its own")
        self._slo_config = load_slo_config(config.slo_config)
        self._table = ClassTable(self._slo_config)
        self._classes = list(self._slo_config.classes)
        without_text = bool(config.traces) or self._published
        if self._kind.name == "predicted" and without_text:
            raise InputError("--forecast predicted needs prompts: use history, oracle or noise:S")
        self.traces_read: list[ReadReport] = []
        self._rows = self._traces() if config.traces else []
        self._counter = None if without_text else token_counter(config.model)

    def requests(
        self, seed: int, *, oracle: bool, scale: float | None = None, template_tokens: int = 0
    ) -> list[SimRequest]:
        """The requests of one seed, arrivals ``scale`` (default: the configured) times as fast.

        ``template_tokens`` are added to prompts that were counted as text.
        """
        rows = self._of_seed(seed)
        scale = self._config.rate_scale if scale is None else scale
        rows = [replace(row, arrival_s=row.arrival_s / scale) for row in rows]
        told = self._told(rows, seed, oracle=oracle)
        limit = ordinary_limit(row.output_tokens for row in rows)
        return [
            SimRequest(
                request_id=row.request_id,
                arrival_s=row.arrival_s,
                prompt_tokens=row.prompt_tokens + (template_tokens if row.prompt else 0),
                output_tokens=row.output_tokens,
                slo=self._slo(row),
                lengths=lengths,
                slo_class=row.slo_class,
                priority=0 if self._published else self._table.get(row.slo_class).priority,
                max_tokens=limit,
            )
            for row, lengths in zip(rows, told, strict=True)
        ]

    def document(self) -> dict[str, dict[str, float | int]]:
        """The SLO classes for the result file."""
        if self._published:
            return {
                name: {"ttft_slowdown": kind.ttft_slowdown, "tpot_ms": 1000 * kind.tpot_s}
                for name, kind in kinds(str(self._config.workload)).items()
            }
        return self._slo_config.document()

    def _of_seed(self, seed: int) -> list[TimedLength]:
        config = self._config
        if config.traces:
            return self._stretch(seed)
        if self._published:
            arrivals_s = poisson(config.rate, config.num_requests or _SOME, seed)
            return published_rows(str(config.workload), arrivals_s=arrivals_s, seed=seed)
        return self._sampled(seed)

    def _slo(self, row: TimedLength) -> Slo:
        if not self._published:
            return self._table.resolve(row.slo_class)[1]
        kind = kinds(str(self._config.workload))[row.slo_class]
        return kind.slo(self._first_engine.alone_s(row.prompt_tokens))

    @cached_property
    def _first_engine(self) -> EngineProfile:
        return load_profile(self._config.instances[0])

    def _told(
        self, rows: Sequence[TimedLength], seed: int, *, oracle: bool
    ) -> list[LengthDistribution]:
        lengths = [Length(row.slo_class, row.output_tokens) for row in rows]
        if oracle or self._kind.name == "oracle":
            return [LengthDistribution.point(length.output_tokens) for length in lengths]
        if self._kind.name == "history":
            return from_history(lengths)
        if self._kind.name == "noise":
            return from_noise(lengths, self._kind.sigma, np.random.default_rng((seed, 1)))
        predictor = ensure_predictor(
            self._config.predictor,
            model=self._config.model,
            dataset_path=self._config.dataset_path,
            console=self._console,
        )
        return predictor.predict([_prompt(row) for row in rows])

    def _traces(self) -> list[TimedLength]:
        rows: list[TimedLength] = []
        # A router may send any request to any engine.
        limits = [profile.most_tokens for profile in engine_profiles(self._config)]
        smallest = min((limit for limit in limits if limit is not None), default=None)
        for text in self._config.traces:
            name, path = self._class_and_path(text)
            trace = read_trace(path, most_tokens=smallest, on_report=self.traces_read.append)
            rows += [
                TimedLength(f"{name}-{k}", row.t_s, name, row.input_tokens, row.output_tokens)
                for k, row in enumerate(trace, len(rows))
            ]
        return sorted(rows, key=lambda row: row.arrival_s)

    def _class_and_path(self, text: str) -> tuple[str, Path]:
        name, equals, path = text.partition("=")
        if equals and self._table.has(name):
            return name, Path(path)
        if equals and not Path(text).exists():
            raise InputError(
                f"--trace {text}: class {name!r} is not one of {', '.join(self._classes)}"
            )
        default = self._slo_config.default_class or self._classes[-1]
        return default, Path(text)

    def _stretch(self, seed: int) -> list[TimedLength]:
        """The requests of a trace that a seed replays, the first at 0 s."""
        rows, count = self._rows, self._config.num_requests
        if count is not None and count < len(rows):
            start = int(np.random.default_rng(seed).integers(len(rows) - count + 1))
            rows = rows[start : start + count]
        return [replace(row, arrival_s=row.arrival_s - rows[0].arrival_s) for row in rows]

    def _sampled(self, seed: int) -> list[TimedLength]:
        """What ``slotwise bench`` replays with the same seed, number and rate."""
        config = BenchConfig(
            policies=("fcfs",),
            model=self._config.model,
            num_prompts=self._config.num_requests or _SOME,
            request_rate=self._config.rate,
            dataset_path=self._config.dataset_path,
            seed=seed,
        )
        assert self._counter is not None  # a workload by name is counted
        found, _ = bench_requests(config, self._counter)
        return [_timed(request) for request in found]


def _timed(request: WorkloadRequest) -> TimedLength:
    return TimedLength(
        request.request_id,
        request.arrival_s,
        request.slo_class,
        request.prompt_tokens,
        request.output_tokens,
        request.prompt,
    )


def _prompt(row: TimedLength) -> Prompt:
    return Prompt(
        text=row.prompt or "",
        task=row.slo_class,
        input_tokens=row.prompt_tokens,
        max_tokens=max(2048 - row.prompt_tokens, 1),
    )
