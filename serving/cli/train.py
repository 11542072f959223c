"""``slotwise train``: fit a length predictor."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def train(
    model: Annotated[str, typer.Option(help="Whose tokenizer counts the lengths.")] = "smollm2",
    dataset_path: Annotated[
        Path | None,
        typer.Option(help="ShareGPT-format JSON; default: the packaged one."),
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder of the trained predictor.")] = Path(
        "build/predictor"
    ),
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Fit the lightgbm predictor on ShareGPT and judge it on held-out conversations."""
    from serving.train import run_training  # noqa: PLC0415 - heavy

    run_training(
        model=model, dataset_path=dataset_path, output=output, seed=seed, console=Console()
    )
