"""``slotwise retrain``: see whether the champion still holds, and train a new one."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

_FRESH = "Folder of newly observed lengths (as slotwise collect writes)."
_LENGTHS = "Folder of the lengths it was trained on; a stratified sample of them is kept."


def retrain(
    fresh: Annotated[Path, typer.Option(help=_FRESH)],
    lengths: Annotated[Path | None, typer.Option(help=_LENGTHS)] = None,
    if_drifted: Annotated[bool, typer.Option(help="Only if the champion has drifted.")] = False,
    config: Annotated[Path | None, typer.Option(help="YAML file of settings.")] = None,
    kind: Annotated[str | None, typer.Option(help="encoder, fast or blend; default: fast.")] = None,
    old_rows: Annotated[int, typer.Option(min=0, help="Old rows to keep.")] = 5000,
    output: Annotated[Path, typer.Option(help="Folder of the trained predictor.")] = Path(
        "build/retrained"
    ),
    settings: Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE.")] = None,
) -> None:
    """Train a candidate on fresh and old lengths, and promote it if it is no worse."""
    from serving.retrain import run_retraining  # noqa: PLC0415 - heavy
    from training.config import assignments, given, read_config  # noqa: PLC0415

    flags = given(kind=kind or (None if config else "fast"))
    wanted = read_config(config, {**flags, **assignments(settings or [])})
    run_retraining(
        wanted,
        fresh=fresh,
        lengths=lengths,
        if_drifted=if_drifted,
        old_rows=old_rows,
        output=output,
        console=Console(),
    )
