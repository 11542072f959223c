"""``slotwise config``: what is set, and by whom."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(help="The settings in force and where each comes from.", no_args_is_help=True)

_CONFIG = "Settings file; default: the one SLOTWISE_CONFIG names, if any."
File = Annotated[Path | None, typer.Option("--config", help=_CONFIG)]


@app.command()
def show(config: File = None) -> None:
    """Print every setting with its value, its source and what it means; secrets are hidden."""
    from serving.settings import Settings, load  # noqa: PLC0415

    loaded = load(config)
    table = Table("setting", "value", "from", "meaning")
    for name, field in Settings.model_fields.items():
        table.add_row(
            name, str(getattr(loaded.settings, name)), loaded.sources[name], field.description or ""
        )
    Console().print(table)


@app.command()
def check(config: File = None) -> None:
    """Read the settings and every file they name; exit with 1 and one message if one is wrong."""
    from scheduler.registry import check_policy  # noqa: PLC0415
    from serving.policy_folder import make_importable, own_folder  # noqa: PLC0415
    from serving.settings import load  # noqa: PLC0415
    from serving.slo_config import load as load_slo_config  # noqa: PLC0415

    loaded = load(config)
    policy = loaded.settings.policy
    make_importable(loaded.settings.policy_folder or own_folder(policy))
    check_policy(policy)
    classes = load_slo_config(loaded.settings.slo_config).classes
    changed = sum(source != "default" for source in loaded.sources.values())
    typer.echo(f"good: {changed} settings differ from the defaults; classes {', '.join(classes)}")
