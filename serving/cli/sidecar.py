"""``slotwise sidecar``: predictions and decisions over HTTP."""

from pathlib import Path
from typing import Annotated

import typer

_CONFIG = "Settings file (YAML, TOML or JSON); SLOTWISE_* variables and flags win over it."
_PREDICTOR = (
    "Folder of a trained predictor, packaged (the default), champion, candidate, a version number, "
    "or none: class priors answer."
)
_ROOT_PATH = "Path under which a proxy shows the sidecar, e.g. /slotwise."
_POLICY = "Scheduling policy, or your own as MODULE:CLASS, found from the current folder too."
_SLOS = "File with the SLO classes; read anew when it changes."
_DATABASE = "sqlite:///FILE or postgresql://..., better given in SLOTWISE_DATABASE_URL."


def sidecar(
    config: Annotated[Path | None, typer.Option(help=_CONFIG)] = None,
    host: Annotated[str | None, typer.Option(help="Address; default: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; default: 8400; 0: a free one.")] = None,
    root_path: Annotated[str | None, typer.Option(help=_ROOT_PATH)] = None,
    predictor: Annotated[str | None, typer.Option(help=_PREDICTOR)] = None,
    predictor_workers: Annotated[
        int | None, typer.Option(help="Predictor processes; default: 1.")
    ] = None,
    policy: Annotated[str | None, typer.Option(help=_POLICY)] = None,
    slo_config: Annotated[Path | None, typer.Option(help=_SLOS)] = None,
    database_url: Annotated[str | None, typer.Option(help=_DATABASE)] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
) -> None:
    """Serve predictions, decisions and a page about them; settings: `slotwise config show`."""
    from predictor.errors import ModelError  # noqa: PLC0415
    from serving.policy_folder import make_importable, own_folder  # noqa: PLC0415
    from serving.predictors import check_source  # noqa: PLC0415
    from serving.settings import load  # noqa: PLC0415

    flags = {
        "host": host,
        "port": port,
        "root_path": root_path,
        "predictor": predictor,
        "predictor_workers": predictor_workers,
        "policy": policy,
        "slo_config": slo_config,
        "database_url": database_url,
        "log_level": log_level,
    }
    settings = load(config, flags).settings
    make_importable(settings.policy_folder or own_folder(settings.policy))
    check_source(settings.predictor)
    try:
        from serving.sidecar.run import run  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise ModelError(
            f"the sidecar needs {error.name}: pip install 'slotwise[serving]'"
        ) from error
    run(settings)
