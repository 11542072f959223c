"""What a cluster that is not as it should be says, and how soon."""

import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from types import SimpleNamespace

import pytest

from predictor.errors import ClusterError
from serving.cluster import connection
from serving.cluster.connection import Cluster, Node, connect
from serving.engine.config import free_port

if find_spec("ray") is None:
    pytest.skip("Ray is not installed (extra: cluster)", allow_module_level=True)

HERE = "ab" * 28
FREE = "ray._private.state.available_resources_per_node"


@pytest.fixture
def head(monkeypatch):
    """A head node that answers the one question asked before Ray connects."""
    import grpc
    from ray.core.generated import gcs_pb2, gcs_service_pb2, gcs_service_pb2_grpc

    class Head(gcs_service_pb2_grpc.NodeInfoGcsServiceServicer):
        token_wanted = False

        def __init__(self):
            self.nodes = []
            self.add(HERE, cpus=2.0)

        def add(self, name, *, cpus, gpus=0.0, state=gcs_pb2.GcsNodeInfo.ALIVE):
            total = {"CPU": cpus, "GPU": gpus} if gpus else {"CPU": cpus}
            node = gcs_pb2.GcsNodeInfo(
                node_id=bytes.fromhex(name), state=state, resources_total=total
            )
            self.nodes.append(node)

        def GetAllNodeInfo(self, request, context):  # noqa: N802 - gRPC's name
            if self.token_wanted:
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")
            return gcs_service_pb2.GetAllNodeInfoReply(node_info_list=self.nodes)

    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        servicer = Head()
        gcs_service_pb2_grpc.add_NodeInfoGcsServiceServicer_to_server(servicer, server)
        # On all interfaces, as Ray puts this machine's own address in the place of 127.0.0.1.
        port = server.add_insecure_port("0.0.0.0:0")
        servicer.address = f"127.0.0.1:{port}"
        server.start()
        monkeypatch.setattr("ray._private.services.find_node_ids", lambda: {HERE})
        yield servicer
        server.stop(None).wait()


@pytest.fixture(autouse=True)
def no_start(monkeypatch):
    """None of these clusters may be connected to in earnest."""
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(connection, "_start", lambda how: pytest.fail(f"started: {how}"))


def refused(address, *, cpus=1.0, gpus=0.0):
    with pytest.raises(ClusterError) as caught, connect(address, cpus=cpus, gpus=gpus):
        pass
    return str(caught.value)


def test_nobody_at_the_address():
    port = free_port()
    message = refused(f"127.0.0.1:{port}")
    assert "no Ray cluster answers at" in message
    assert str(port) in message


def test_ray_address_counts_when_none_is_given(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free_port()}")
    assert "no Ray cluster answers at" in refused(None)


@pytest.mark.parametrize("address", ["somewhere", "ray://head:10001", "http://head:8265"])
def test_what_is_no_address(address):
    message = refused(address)
    assert f"Ray address '{address}'" in message
    assert "HOST:PORT" in message


def test_a_wrong_token(head):
    head.token_wanted = True
    assert "RAY_AUTH_TOKEN" in refused(head.address)


def test_a_machine_that_is_no_node_of_the_cluster(head):
    head.nodes.clear()
    head.add("cd" * 28, cpus=8.0)
    head.add(HERE, cpus=8.0, state=1)  # it was one, and died
    assert "ray start --address" in refused(head.address)


def test_too_few_cpus_of_all_nodes_together(head):
    head.add("cd" * 28, cpus=1.0)
    assert "3 of the 4 CPUs" in refused(head.address, cpus=4.0)


def test_too_few_gpus(head):
    head.add("cd" * 28, cpus=1.0, gpus=1.0)
    assert "1 of the 2 GPUs" in refused(head.address, gpus=2.0)


def test_a_cluster_that_fits_is_connected_to(head, monkeypatch):
    started = []
    monkeypatch.setattr(connection, "_start", started.append)
    monkeypatch.setattr(FREE, lambda: {HERE: {"CPU": 2.0}})
    monkeypatch.setattr("ray.get_runtime_context", lambda: SimpleNamespace(gcs_address="head:1"))
    with connect(head.address, cpus=2.0) as cluster:
        assert cluster == Cluster("head:1", local=False, nodes=(Node(2.0, 0.0),))
    assert started[0]["address"].endswith(head.address.partition(":")[2])
    assert "num_cpus" not in started[0]  # Ray refuses them for a cluster that runs


def test_what_others_hold_is_not_waited_for_long(head, monkeypatch):
    monkeypatch.setattr(connection, "_start", lambda how: None)
    monkeypatch.setattr(connection, "_PATIENCE_S", 0.0)
    monkeypatch.setattr(FREE, lambda: {HERE: {"memory": 1.0}})
    assert "has free 0 of the 2 CPUs" in refused(head.address, cpus=2.0)


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "slotwise[cluster]" in refused("head:6379")
