"""``slotwise models``: the registry of trained predictors."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(help="Registered predictors: candidate, champion.", no_args_is_help=True)


@app.command("list")
def list_versions() -> None:
    """Say what is registered, the newest first."""
    from training.registry import Registry  # noqa: PLC0415 - an optional extra

    table = Table()
    for name in ("version", "kind", "crps", "coverage_90", "aliases"):
        table.add_column(name)
    for version in Registry().versions():
        figures = [
            "" if value is None else f"{value:.4g}" for value in (version.crps, version.coverage_90)
        ]
        table.add_row(version.number, version.kind, *figures, ", ".join(version.aliases))
    Console().print(table)


@app.command()
def promote(
    version: Annotated[str, typer.Argument(help="Version number or alias.")] = "candidate",
    force: Annotated[bool, typer.Option(help="Even if it is worse than the champion.")] = False,
) -> None:
    """Make a version the champion, unless its CRPS or coverage is worse."""
    from predictor.errors import RegistryError  # noqa: PLC0415
    from training.registry import Registry  # noqa: PLC0415

    registry = Registry()
    if not force and (refusal := registry.gate(version)):
        raise RegistryError(f"version {version} is not promoted: {refusal}; --force does it anyway")
    Console().print(f"version {registry.promote(version)} is the champion", highlight=False)


@app.command()
def rollback() -> None:
    """Give the title back to the champion before this one."""
    from training.registry import Registry  # noqa: PLC0415

    Console().print(f"version {Registry().rollback()} is the champion again", highlight=False)
