"""A Ray cluster for the length of a ``with`` block: one that runs, or one that is started here.

Left to itself ``ray.init`` tries for minutes to reach a head node that is not there and then ends
the process, and tries for twenty seconds to get in with a wrong token. So the head node is asked
first, in one call that says whether it is there, lets us in and has what is needed.
"""

import logging
import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from predictor.errors import ClusterError

_PROBE_S = 5.0
# A job that has just ended gives its resources back within a second or two.
_PATIENCE_S = 5.0
_POLL_S = 0.2
_NO_PROXY = (("grpc.enable_http_proxy", 0),)


@dataclass(frozen=True, slots=True)
class Node:
    """What is free on one machine of a cluster, in logical CPUs and GPUs."""

    cpus: float
    gpus: float


@dataclass(frozen=True, slots=True)
class Cluster:
    """What is connected to; one that is ``local`` was started here and ends with the block."""

    address: str
    local: bool
    nodes: tuple[Node, ...]


@contextmanager
def connect(
    address: str | None, *, cpus: float, gpus: float = 0.0, logs: bool = False
) -> Iterator[Cluster]:
    """Connect to the cluster at ``address``, or start Ray on this machine for the block.

    ``address`` is the head node's ``HOST:PORT``, or ``auto`` for the cluster this machine is in;
    without one ``RAY_ADDRESS`` counts, as it does for Ray. ``cpus`` and ``gpus`` must be free
    there; a Ray that is started here declares as many logical CPUs as are asked for. With ``logs``
    this process prints what its workers print, which is in Ray's own logs anyway. Raises
    ``ClusterError`` within seconds if there is no cluster, it refuses the token or is too small.
    """
    ray = _ray()
    if ray.is_initialized():
        raise ClusterError("this process is connected to Ray already: end that connection first")
    head = _head(address)
    how: dict[str, Any] = {"address": head or "local", "log_to_driver": logs}
    if head is None:
        how |= {"num_cpus": max(_cores(), math.ceil(cpus)), "include_dashboard": False}
    else:
        _check_size(_ask(head), head, cpus, gpus)
    with ExitStack() as undo:
        # Before the start: what was begun goes away, too, when it fails or is interrupted.
        undo.callback(ray.shutdown)
        _start(how)
        if head is None:
            _check_size([_node(ray.cluster_resources())], head, cpus, gpus)
        free = _wait_free(head, cpus, gpus)
        yield Cluster(ray.get_runtime_context().gcs_address, head is None, free)


def _ray() -> Any:
    """The package, or an error that says how to install it."""
    try:
        import ray  # noqa: PLC0415 - an optional extra
        import ray._private.grpc_utils  # noqa: PLC0415 - older releases have none
    except ImportError as error:
        raise ClusterError(
            f"Ray cannot be used ({error}): pip install 'slotwise[cluster]'"
        ) from error
    logging.getLogger("ray").setLevel(logging.ERROR)
    return ray


def _head(address: str | None) -> str | None:
    """``HOST:PORT`` of the head node, ``None`` to start Ray here."""
    from ray._private.authentication.authentication_token_setup import (  # noqa: PLC0415
        maybe_enable_token_auth_if_token_available as use_own_token,
    )
    from ray._private.services import canonicalize_bootstrap_address  # noqa: PLC0415

    named = address or os.environ.get("RAY_ADDRESS") or "local"
    if named == "auto":
        # As Ray does: to a cluster on this machine, and to no other, the token goes unasked.
        use_own_token(warn_if_disabled=False)
    try:
        found: str | None = canonicalize_bootstrap_address(named)
    except (ValueError, OSError) as error:
        raise ClusterError(f"Ray address '{named}': {error}; {_WANTED}") from error
    return found


_WANTED = "give the head node's HOST:PORT (`ray start --head` prints it), or auto"


def _ask(head: str) -> list[Node]:
    """The cluster's nodes; raises ``ClusterError`` unless it answers and this machine is one."""
    import grpc  # noqa: PLC0415
    from ray._private.grpc_utils import init_grpc_channel  # noqa: PLC0415
    from ray._private.services import find_node_ids  # noqa: PLC0415
    from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc  # noqa: PLC0415
    from ray.exceptions import AuthenticationError  # noqa: PLC0415

    with init_grpc_channel(head, options=_NO_PROXY) as channel:
        stub = gcs_service_pb2_grpc.NodeInfoGcsServiceStub(channel)
        try:
            reply = stub.GetAllNodeInfo(gcs_service_pb2.GetAllNodeInfoRequest(), timeout=_PROBE_S)
        except AuthenticationError as error:
            raise _refused(head, error.message) from error
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNAUTHENTICATED:
                raise _refused(head, "the token is missing or wrong") from error
            raise ClusterError(
                f"no Ray cluster answers at {head} ({error.code().name}): {_WANTED}, or no"
                " address to start Ray on this machine"
            ) from error
    alive = [node for node in reply.node_info_list if node.state == node.ALIVE]
    if not find_node_ids() & {node.node_id.hex() for node in alive}:
        raise ClusterError(
            f"this machine is no node of the Ray cluster at {head}: run the command on one, or"
            f" join it by  ray start --address {head}"
        )
    return [_node(node.resources_total) for node in alive]


def _refused(head: str, why: str) -> ClusterError:
    return ClusterError(
        f"the Ray cluster at {head} does not let us in: {why.rstrip('.')}. Set RAY_AUTH_MODE=token"
        " and give the cluster's token in RAY_AUTH_TOKEN, in a file that RAY_AUTH_TOKEN_PATH names,"
        " or in ~/.ray/auth_token"
    )


def _node(resources: Any) -> Node:
    return Node(resources.get("CPU", 0.0), resources.get("GPU", 0.0))


def _own_path() -> Any:
    """A job whose workers do not search the folder of this process first.

    Ray puts it in front of their path, where packages of the user's would hide ours. It does not
    for a job whose code comes along as a working directory.
    """
    from ray.job_config import JobConfig  # noqa: PLC0415

    class OwnPath(JobConfig):  # type: ignore[misc]
        def _runtime_env_has_working_dir(self) -> bool:
            return True

    return OwnPath()


def _start(how: dict[str, Any]) -> None:
    import ray  # noqa: PLC0415
    from ray.exceptions import RayError  # noqa: PLC0415

    try:
        ray.init(**how, job_config=_own_path(), logging_level=logging.ERROR)
    except (RayError, RuntimeError, ValueError, OSError) as error:
        verb = "started here" if how["address"] == "local" else f"joined at {how['address']}"
        raise ClusterError(f"Ray could not be {verb}: {error}") from error


def _check_size(nodes: Sequence[Node], head: str | None, cpus: float, gpus: float) -> None:
    """Raise if the cluster can never have enough."""
    if lack := _lack(nodes, cpus, gpus):
        where = f"the Ray cluster at {head}" if head else "this machine"
        raise ClusterError(f"{where} has {lack}: ask for less, or add nodes")


def _wait_free(head: str | None, cpus: float, gpus: float) -> tuple[Node, ...]:
    """What is free on each node; raises if others hold what is needed, and keep it."""
    from ray._private.state import available_resources_per_node  # noqa: PLC0415

    deadline = time.monotonic() + _PATIENCE_S
    while True:
        free = tuple(map(_node, available_resources_per_node().values()))
        if not (lack := _lack(free, cpus, gpus)):
            return free
        if time.monotonic() > deadline:
            raise ClusterError(
                f"the Ray cluster at {head or 'this machine'} has free {lack}: ask for less, or end"
                " what holds the rest"
            )
        time.sleep(_POLL_S)


def _lack(nodes: Sequence[Node], cpus: float, gpus: float) -> str | None:
    """What the nodes have too little of, in words."""
    has = {"CPU": sum(node.cpus for node in nodes), "GPU": sum(node.gpus for node in nodes)}
    for kind, wanted in (("CPU", cpus), ("GPU", gpus)):
        if has[kind] < wanted:
            return f"{has[kind]:g} of the {wanted:g} {kind}s needed"
    return None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
