"""Brings a fleet up on a Ray cluster, says how far it is, and takes it down again."""

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass

from ray import serve
from ray.serve.exceptions import RayServeException
from ray.serve.schema import ApplicationStatus, ApplicationStatusOverview
from rich.console import Console

from predictor.errors import ClusterError
from serving.cluster.application import build
from serving.cluster.board_actor import BoardLink
from serving.cluster.config import ClusterConfig
from serving.cluster.names import APP

logger = logging.getLogger(__name__)

_POLL_S = 0.5
_ENDED = (ApplicationStatus.DEPLOY_FAILED, ApplicationStatus.UNHEALTHY)


@dataclass(frozen=True, slots=True)
class Door:
    """Where the fleet listens."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """For clients."""
        return f"http://{self.host}:{self.port}"


@contextlib.contextmanager
def fleet(
    config: ClusterConfig, door: Door, *, console: Console, timeout_s: float
) -> Iterator[None]:
    """A fleet that serves, for as long as the block lasts; Ray must be connected.

    Raises ``ClusterError`` with the reason of the first part that failed.
    """
    for name in ("ray.serve", "ray.llm"):
        logging.getLogger(name).setLevel(logging.WARNING)
    _check_alone(door)
    serve.start(http_options={"host": door.host, "port": door.port})
    application = build(config.model_dump())
    try:
        serve.run_many(
            [serve.RunTarget(application, name=APP, route_prefix="/")],
            wait_for_applications_running=False,
        )
        _wait(config, console=console, timeout_s=timeout_s)
        yield
    finally:
        with console.status("taking the fleet down"):
            serve.delete(APP)
            BoardLink().end()


def _check_alone(door: Door) -> None:
    """Raise ``ClusterError`` rather than take over a fleet of somebody else's."""
    try:
        status = serve.status()
    except RayServeException:
        return  # Serve does not run yet
    if APP in status.applications:
        raise ClusterError(
            f"a fleet runs on this Ray cluster already (application {APP}): end it first, or "
            "`serve delete slotwise`"
        )
    if status.proxies:
        logger.warning("Ray Serve runs already and keeps its own address, not %s", door.url)


def _wait(config: ClusterConfig, *, console: Console, timeout_s: float) -> None:
    began_s = time.monotonic()
    with console.status("starting") as status:
        while True:
            overview = serve.status().applications.get(APP)
            took_s = time.monotonic() - began_s
            if overview is not None:
                if overview.status == ApplicationStatus.RUNNING:
                    return
                if overview.status in _ENDED:
                    raise ClusterError(f"the fleet did not start: {_reason(overview)}")
                again = f"; tried again: {failure}" if (failure := _failure(overview)) else ""
                status.update(
                    f"{_running(overview)} of {config.replicas} engines, {took_s:.0f} s{again}"
                )
            if took_s > timeout_s:
                raise ClusterError(
                    f"the fleet was not ready after {timeout_s:.0f} s; see `serve status` and the "
                    "logs of Ray Serve, or allow more with --start-timeout"
                )
            time.sleep(_POLL_S)


def _running(overview: ApplicationStatusOverview) -> int:
    engines = [d for name, d in overview.deployments.items() if name != "ingress"]
    return sum(d.replica_states.get("RUNNING", 0) for d in engines)


def _failure(overview: ApplicationStatusOverview) -> str:
    """Why a replica's start failed; Ray tries it again, and some failures pass."""
    for deployment in overview.deployments.values():
        if "Error" in deployment.message:
            return _last_line(deployment.message)
    return ""


def _reason(overview: ApplicationStatusOverview) -> str:
    return _failure(overview) or _last_line(overview.message)


def _last_line(message: str) -> str:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    named = [line for line in lines if "Error" in line]
    return (named or lines or ["no reason was given"])[-1]
