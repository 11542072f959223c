"""The Ray clusters: what Serve is told can be read, and fits the nodes."""

import importlib.util
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml
from deployment import KUBERAY, documents, project

from serving.cluster.config import ClusterConfig, cluster_config
from serving.cluster.serve_config import serve_config
from serving.models.known import KNOWN
from serving.settings import Settings

SERVICES = {
    name: documents(KUBERAY / f"{name}.yaml")[0]["spec"]
    for name in ("rayservice", "rayservice-gpu")
}

each_service = pytest.mark.parametrize("name", SERVICES)


def application(name: str) -> dict[str, Any]:
    """The one application of a service."""
    (found,) = yaml.safe_load(SERVICES[name]["serveConfigV2"])["applications"]
    assert isinstance(found, dict)
    return found


@each_service
def test_ray_serve_takes_the_application(name: str):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        schema = pytest.importorskip("ray.serve.schema", exc_type=ImportError)
    config = schema.ServeDeploySchema.model_validate(
        yaml.safe_load(SERVICES[name]["serveConfigV2"])
    )
    (only,) = config.applications
    assert (only.name, only.route_prefix) == ("slotwise", "/")


def config(name: str) -> ClusterConfig:
    """What the application is told."""
    return cluster_config(application(name)["args"])


@each_service
def test_it_is_what_our_own_command_writes(name: str):
    written = yaml.safe_load(serve_config(config(name), host="0.0.0.0", port=8000))
    assert yaml.safe_load(SERVICES[name]["serveConfigV2"]) == written


@each_service
def test_the_application_is_where_it_is_said_to_be(name: str):
    module, _, function = application(name)["import_path"].partition(":")
    source = importlib.util.find_spec(module)
    assert source is not None
    assert f"def {function}(" in Path(str(source.origin)).read_text(encoding="utf-8")


@each_service
def test_its_settings_exist(name: str):
    settings = application(name)["args"]["settings"]
    assert settings
    assert set(settings) <= set(Settings.model_fields)


@each_service
def test_ray_is_of_the_release_that_is_installed(name: str):
    wanted = " ".join(project()["optional-dependencies"]["cluster"])
    (version,) = re.findall(r"ray\[[\w,]+\]==([\d.]+)", wanted)
    assert SERVICES[name]["rayClusterConfig"]["rayVersion"] == version


@each_service
def test_the_replicas_fit_the_nodes_and_the_head_stays_free(name: str):
    asked = config(name)
    cluster = SERVICES[name]["rayClusterConfig"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    (group,) = cluster["workerGroupSpecs"]
    (only,) = group["template"]["spec"]["containers"]
    limits = only["resources"]["limits"]
    cpus, gpus = int(limits["cpu"]), int(limits.get("nvidia.com/gpu", 0))
    assert only["resources"]["requests"] == limits
    # An engine on each node, and room for all that goes with them.
    assert asked.replicas == group["replicas"]
    assert asked.cpus_per_replica <= cpus
    assert asked.cpus <= group["replicas"] * cpus
    assert asked.gpus == group["replicas"] * gpus


@each_service
def test_every_node_has_the_model(name: str):
    """By its name it is prepared on each; a folder is mounted on each, the head included."""
    cluster = SERVICES[name]["rayClusterConfig"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    model = config(name).model
    if model in KNOWN:
        for group in cluster["workerGroupSpecs"]:
            first = group["template"]["spec"]["initContainers"]
            assert [each.get("args") for each in first][-1] == ["model", "prepare", model]
    else:
        for group in groups:
            (only,) = group["template"]["spec"]["containers"]
            folders = [mount["mountPath"] for mount in only["volumeMounts"]]
            assert any(Path(model).is_relative_to(folder) for folder in folders)


@each_service
def test_only_who_has_the_token_may_run_code(name: str):
    assert SERVICES[name]["rayClusterConfig"]["authOptions"] == {"mode": "token"}


@each_service
def test_the_label_by_which_kuberay_finds_its_pods_is_left_alone(name: str):
    cluster = SERVICES[name]["rayClusterConfig"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert "app.kubernetes.io/name" not in group["template"]["metadata"]["labels"]
