"""Puts the commands together and turns our errors into one clear message."""

import sys
from importlib.metadata import version
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from predictor.errors import SlotwiseError
from serving.cli import (
    bench,
    cluster,
    collect,
    config,
    model,
    models,
    onboard,
    predict,
    refine,
    retrain,
    serve,
    sidecar,
    simulate,
    train,
)

app = typer.Typer(
    name="slotwise",
    help="SLO-aware scheduling for LLM inference with learned output lengths.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(model.app, name="model")
app.add_typer(config.app, name="config")
app.add_typer(models.app, name="models")
app.add_typer(cluster.app, name="cluster")
app.command("train")(train.train)
app.command("evaluate")(predict.evaluate)
app.command("predict")(predict.predict)
app.command("onboard")(onboard.onboard)
app.command("refine")(refine.refine)
app.command("retrain")(retrain.retrain)
app.command("collect")(collect.collect)
app.command("bench")(bench.bench)
app.command("serve", context_settings=serve.CONTEXT)(serve.serve)
app.command("sidecar")(sidecar.sidecar)
app.command("simulate")(simulate.simulate)
app.command("capacity")(simulate.capacity)
app.command("profile")(simulate.profile)
app.command("validate-simulator")(simulate.validate_simulator)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("slotwise"))
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print it."),
    ] = False,
) -> None:
    """SLO-aware scheduling for LLM inference with learned output lengths."""


def main() -> None:
    """Run the command line; our own errors end it with a message and status 1."""
    try:
        app()
    except SlotwiseError as error:
        message = f"[bold red]error:[/] {escape(str(error))}"
        Console(stderr=True).print(message, soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted")
        sys.exit(130)
