"""``slotwise cluster``: several engines behind one address, on Ray."""

import contextlib
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from serving.cluster.config import ClusterConfig

app = typer.Typer(help="Several engines behind one address, on Ray Serve.", no_args_is_help=True)

_MODEL = "Known name, local folder (on all nodes) or hub id."
_ADDRESS = "Head node's HOST:PORT of a running Ray cluster, or auto; without it Ray starts here."
_ACCELERATOR = "cpu or gpu; by default what the vLLM installed here is built for."
_ROUTER = "slo; power-of-two and round-robin are Ray's own; or your class as MODULE:CLASS."
_ENGINE = "An engine argument of vLLM as NAME=VALUE (YAML), e.g. max_num_seqs=64; may be repeated."
_SET = "A setting as NAME=VALUE, see `slotwise config show`; no secret; may be repeated."
_TIMEOUT = "Seconds that a start may take."

Model = Annotated[str, typer.Argument(help=_MODEL)]
Name = Annotated[str | None, typer.Option(help="What requests call the model.")]
Replicas = Annotated[int, typer.Option(min=1, help="Engines.")]
IngressReplicas = Annotated[int, typer.Option(min=1, help="Front doors.")]
Accelerator = Annotated[str | None, typer.Option(help=_ACCELERATOR)]
Cpus = Annotated[float, typer.Option(min=0.1, help="Logical CPUs of each engine.")]
Gpus = Annotated[float, typer.Option(min=0.0, help="GPUs of each engine.")]
Router = Annotated[str, typer.Option(help=_ROUTER)]
Engine = Annotated[list[str] | None, typer.Option("--engine", help=_ENGINE)]
Setting = Annotated[list[str] | None, typer.Option("--set", help=_SET)]


@app.command()
def serve(
    model: Model,
    address: Annotated[str | None, typer.Option(help=_ADDRESS)] = None,
    name: Name = None,
    replicas: Replicas = 1,
    ingress_replicas: IngressReplicas = 1,
    accelerator: Accelerator = None,
    cpus_per_replica: Cpus = 2.0,
    gpus_per_replica: Gpus = 1.0,
    router: Router = "slo",
    engine: Engine = None,
    setting: Setting = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port to listen on.")] = 8000,
    start_timeout: Annotated[float, typer.Option(min=1.0, help=_TIMEOUT)] = 900.0,
) -> None:
    """Bring a fleet up and serve until Ctrl-C takes it down."""
    from serving.cluster.connection import connect  # noqa: PLC0415
    from serving.cluster.preflight import check  # noqa: PLC0415

    console = Console(stderr=True)
    config = _config(
        model=model,
        name=name,
        replicas=replicas,
        ingress_replicas=ingress_replicas,
        accelerator=accelerator or _own_accelerator(),
        cpus_per_replica=cpus_per_replica,
        gpus_per_replica=gpus_per_replica,
        router=router,
        engine=_engine(engine),
        settings={**_own_variables(), **_settings(setting)},
    )
    check(config)
    with connect(address, cpus=config.cpus, gpus=config.gpus):
        # What ends us takes the fleet down first, however it is told to; Ray had other plans.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.default_int_handler)
        # Of this process alone: Ray's have their environment by now. What vLLM says of itself
        # while it is imported is no news to whoever starts a fleet.
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        from serving.cluster.serve import Door, fleet  # noqa: PLC0415 - takes seconds

        door = Door(host, port)
        with fleet(config, door, console=console, timeout_s=start_timeout):
            console.print(f"serving {config.served_name} at {door.url}", highlight=False)
            with contextlib.suppress(KeyboardInterrupt):
                threading.Event().wait()


@app.command()
def config(
    model: Model,
    output: Annotated[Path | None, typer.Option(help="File; default: print it.")] = None,
    name: Name = None,
    replicas: Replicas = 1,
    ingress_replicas: IngressReplicas = 1,
    accelerator: Accelerator = "gpu",
    cpus_per_replica: Cpus = 2.0,
    gpus_per_replica: Gpus = 1.0,
    router: Router = "slo",
    engine: Engine = None,
    setting: Setting = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "0.0.0.0",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port to listen on.")] = 8000,
) -> None:
    """Write the Serve config of a fleet, for `serve deploy` and KubeRay."""
    from serving.cluster.serve_config import serve_config  # noqa: PLC0415

    made = _config(
        model=model,
        name=name,
        replicas=replicas,
        ingress_replicas=ingress_replicas,
        accelerator=accelerator,
        cpus_per_replica=cpus_per_replica,
        gpus_per_replica=gpus_per_replica,
        router=router,
        engine=_engine(engine),
        settings=_settings(setting),
    )
    text = serve_config(made, host=host, port=port)
    if output is None:
        typer.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")


def _config(**fields: Any) -> "ClusterConfig":
    from serving.cluster.config import cluster_config  # noqa: PLC0415

    return cluster_config(fields)


def _own_variables() -> dict[str, str]:
    """``SLOTWISE_*`` of this process: the fleet's processes are started by others.

    But no secret: what is passed on can be read on Ray's dashboard. A Ray that is started here
    has this environment anyway; the nodes of another are given theirs.
    """
    from serving.cluster.config import SECRETS  # noqa: PLC0415

    prefix = "SLOTWISE_"
    ours = {k: v for k, v in os.environ.items() if k.startswith(prefix)}
    found = {name.removeprefix(prefix).lower(): value for name, value in ours.items()}
    return {k: v for k, v in found.items() if k not in {"config", "data", *SECRETS}}


def _own_accelerator() -> str:
    from serving.engine.layout import cpu_build  # noqa: PLC0415

    return "cpu" if cpu_build() else "gpu"


def _settings(given: list[str] | None) -> dict[str, str]:
    """As an environment would have them; raises ``ConfigError`` for a secret."""
    from predictor.errors import ConfigError  # noqa: PLC0415
    from serving.cluster.config import SECRETS  # noqa: PLC0415

    found = dict(_pair(text, "--set") for text in given or [])
    for name in SECRETS:
        if name in found:
            raise ConfigError(
                f"--set {name}: what is set here can be read on Ray's dashboard; set "
                f"SLOTWISE_{name.upper()} in the environment of this command, or of Ray's nodes"
            )
    return found


def _engine(given: list[str] | None) -> dict[str, Any]:
    """Values as YAML reads them; raises ``ConfigError``."""
    import yaml  # noqa: PLC0415

    from predictor.errors import ConfigError  # noqa: PLC0415

    found: dict[str, Any] = {}
    for text in given or []:
        name, value = _pair(text, "--engine")
        try:
            found[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--engine {text}: the value cannot be read ({error})") from error
    return found


def _pair(text: str, flag: str) -> tuple[str, str]:
    from predictor.errors import ConfigError  # noqa: PLC0415

    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ConfigError(f"{flag} {text}: write NAME=VALUE")
    return name, value
