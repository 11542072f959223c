"""``slotwise train``: fit a length predictor."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

_CONFIG = "YAML file of settings; flags go over it."
_KIND = "encoder, fast, blend, lightgbm or history; default: lightgbm, or what the file says."
_LENGTHS = "Folder with prompts.jsonl and lengths.csv; default: ShareGPT's own answers."
_SET = "Any setting by its dotted name, such as encoder.epochs=4; may be repeated."
_REGISTER = "Log the run to MLflow, register it, and promote it if it is no worse."


def train(
    config: Annotated[Path | None, typer.Option(help=_CONFIG)] = None,
    kind: Annotated[str | None, typer.Option(help=_KIND)] = None,
    lengths: Annotated[Path | None, typer.Option(help=_LENGTHS)] = None,
    model: Annotated[str, typer.Option(help="Whose tokenizer counts the lengths.")] = "smollm2",
    dataset_path: Annotated[
        Path | None,
        typer.Option(help="ShareGPT-format JSON; default: the packaged one."),
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder of the trained predictor.")] = Path(
        "build/predictor"
    ),
    seed: Annotated[int | None, typer.Option(min=0, help="Of whatever is trained.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help=_SET)] = None,
    register: Annotated[bool, typer.Option(help=_REGISTER)] = False,
    restart: Annotated[bool, typer.Option(help="Forget the checkpoint of an earlier run.")] = False,
) -> None:
    """Fit a length predictor and judge it on held-out prompts beside baselines and noise."""
    from serving.train import run_training  # noqa: PLC0415 - heavy
    from training.config import assignments, given, read_config  # noqa: PLC0415

    flags = given(kind=kind, lengths=lengths, dataset_path=dataset_path)
    seeds = dict.fromkeys(("seed", "encoder.seed", "fast.seed"), seed)
    flags |= given(**seeds)
    wanted = read_config(config, {**flags, **assignments(settings or [])})
    console = Console()
    registry = None
    if register:  # before hours of training, not after
        from training.registry import Registry  # noqa: PLC0415 - an optional extra

        registry = Registry()
        registry.check_writable()
    result = run_training(wanted, model=model, output=output, console=console, restart=restart)
    if registry is not None:
        from training.tracking import track  # noqa: PLC0415

        made = track(registry, wanted, result)
        outcome = "promoted to champion" if made.refusal is None else f"refused: {made.refusal}"
        console.print(f"registered as version {made.version}; {outcome}", highlight=False)
