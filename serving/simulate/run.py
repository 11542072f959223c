"""``slotwise simulate``: every policy on the same requests, seed by seed."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from scheduler.registry import PolicyName
from scheduler.simulator.profiles import EngineProfile
from serving.bench.records import PolicyRun
from serving.report.files import write_atomically
from serving.report.html import write_report
from serving.report.seeds import seeds_document
from serving.report.table import print_tables
from serving.simulate.config import SimConfig
from serving.simulate.engines import engine_profiles, run_policy
from serving.simulate.workload import SimWorkload


def run_simulation(config: SimConfig, console: Console) -> None:
    """Run it, print the tables, write ``config.output`` and the report beside it."""
    profiles = engine_profiles(config)
    workload = SimWorkload(config, console)
    runs = {name: list[PolicyRun]() for name in config.policies}
    with progress(console) as bars:
        for seed in range(config.seed, config.seed + config.seeds):
            for name in config.policies:
                policy = PolicyName.parse(name)
                requests = workload.requests(
                    seed,
                    oracle=policy.oracle,
                    template_tokens=max(profile.template_tokens for profile in profiles),
                )
                bar = bars.add_task(f"{name}, seed {seed}", total=len(requests))
                run = run_policy(
                    policy,
                    profiles,
                    requests,
                    placement=config.new_placement(),
                    on_arrival=partial(_completed, bars, bar),
                )
                runs[name].append(run)
    document = seeds_document(_facts(config, profiles, workload), runs)
    write_atomically(config.output, json.dumps(document, allow_nan=False, indent=1) + "\n")
    report = config.output.with_name("report.html")
    write_report(document, report)
    print_tables(document, console)
    console.print(f"result: {config.output}", highlight=False, soft_wrap=True)
    console.print(f"report: {report}", highlight=False, soft_wrap=True)


def progress(console: Console) -> Progress:
    """Bars that count requests."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )


def _completed(bars: Progress, bar: TaskID, count: int) -> None:
    # Redrawing for each of a hundred thousand requests would take longer than serving them.
    if count % 64 == 0 or count == bars.tasks[bar].total:
        bars.update(bar, completed=count)


def _facts(
    config: SimConfig, profiles: list[EngineProfile], workload: SimWorkload
) -> Mapping[str, object]:
    settings = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in asdict(config).items()
    }
    return {
        **settings,
        "forecast": config.forecast_kind,
        "slo_classes": workload.document(),
        "traces_read": [asdict(report) for report in workload.traces_read],
        "limits": [asdict(profile.limits) for profile in profiles],
        "rules": [asdict(profile.rules) for profile in profiles],
    }
