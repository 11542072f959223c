"""``slotwise serve``: vLLM's own OpenAI server, scheduled by Slotwise."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from serving.settings import Settings

_CONFIG = "Settings file (YAML, TOML or JSON); SLOTWISE_* variables and flags win over it."
_MODEL = "Known name, local folder or hub id."
_MODE = "active; shadow: decide and record, serve in arrival order; off: stock vLLM."
_PREDICTOR = (
    "Folder of a trained predictor, packaged (the default), champion, candidate, a version number, "
    "or none: class priors answer."
)
_POLICY = "Scheduling policy, or your own as MODULE:CLASS, found from the current folder too."
_SLOS = "File with the SLO classes; read anew when it changes."

CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True}


def serve(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help=_MODEL)],
    config: Annotated[Path | None, typer.Option("--slotwise-config", help=_CONFIG)] = None,
    mode: Annotated[str | None, typer.Option(help=_MODE)] = None,
    policy: Annotated[str | None, typer.Option(help=_POLICY)] = None,
    predictor: Annotated[str | None, typer.Option(help=_PREDICTOR)] = None,
    slo_config: Annotated[Path | None, typer.Option(help=_SLOS)] = None,
) -> None:
    """Start vLLM's OpenAI server with Slotwise in it; every other flag is vLLM's own."""
    from predictor.errors import ConfigError  # noqa: PLC0415
    from serving.models import resolve  # noqa: PLC0415
    from serving.models.hub import check_fetchable  # noqa: PLC0415
    from serving.policy_folder import own_folder  # noqa: PLC0415
    from serving.serve import launch  # noqa: PLC0415
    from serving.settings import load  # noqa: PLC0415

    if model.startswith("-"):
        raise ConfigError(
            f"'{model}' stands where the model belongs: put the model before vLLM's flags, "
            f"slotwise serve MODEL {model} ..."
        )
    # vLLM's processes may work in another folder.
    if predictor is not None and Path(predictor).is_dir():
        predictor = str(Path(predictor).resolve())
    flags = {"mode": mode, "policy": policy, "predictor": predictor, "slo_config": slo_config}
    settings = load(config, flags).settings
    if settings.policy_folder is None:
        flags["policy_folder"] = own_folder(settings.policy)
        settings = load(config, flags).settings
    _check(settings)
    told = {f"SLOTWISE_{name.upper()}": _absolute(v) for name, v in flags.items() if v is not None}
    if config is not None:
        told["SLOTWISE_CONFIG"] = str(config.resolve())
    found = resolve(model)
    started = launch(found, context.args, settings, name=model, told=told)
    check_fetchable(found)
    for note in started.notes:
        typer.echo(f"slotwise: {note}", err=True)
    # vLLM takes this process over: its signals, its output and its status are the user's.
    os.execve(started.command[0], list(started.command), dict(started.environment))


def _check(settings: "Settings") -> None:
    """Raise now for what would otherwise end vLLM half a minute into its start."""
    from predictor.errors import ModelError  # noqa: PLC0415
    from scheduler.registry import check_policy  # noqa: PLC0415
    from serving import vllm_releases  # noqa: PLC0415
    from serving.policy_folder import make_importable  # noqa: PLC0415
    from serving.predictors import NO_PREDICTOR, find_predictor  # noqa: PLC0415
    from serving.slo_config import load  # noqa: PLC0415

    release = vllm_releases.installed()
    if settings.mode == "off":
        return
    vllm_releases.check(release)
    make_importable(settings.policy_folder)
    check_policy(settings.policy)
    load(settings.slo_config)
    if settings.predictor != NO_PREDICTOR:
        find_predictor(settings.predictor)
    try:
        import serving.middleware.asgi  # noqa: F401, PLC0415 - an optional extra
    except ImportError as error:
        raise ModelError(
            f"`slotwise serve` needs {error.name}: pip install 'slotwise[serving]'"
        ) from error


def _absolute(value: str | Path) -> str:
    """vLLM's processes may work in another folder."""
    return str(value.resolve()) if isinstance(value, Path) else value
