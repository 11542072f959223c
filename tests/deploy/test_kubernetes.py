"""The manifests: valid, restricted, and what is named exists."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from deployment import (
    BASE,
    DEPLOY,
    OVERLAYS,
    ROOT,
    containers,
    documents,
    manifests,
    pods,
    run,
    tool,
    walk,
)

from serving.middleware.asgi import METRICS_PATH

OBJECTS = {name: each for name, each in manifests().items() if each["kind"] != "RayService"}
# The oldest with everything that is used (preStop.sleep), and the newest known here.
OLDEST = "1.30"
FOLDERS = [BASE, OVERLAYS / "cpu", OVERLAYS / "gpu"]
# What pods of vLLM and MLflow answer on.
OTHERS_PATHS = {"server": "/health", "mlflow": "/health"}

each_pod = pytest.mark.parametrize("name", pods())


def check(document: dict[str, Any]) -> None:
    """Raise for what no version takes: unknown keys, wrong types."""
    validator = pytest.importorskip("kubernetes_validate")
    for version in (OLDEST, validator.latest_version()):
        validator.validate(document, version, strict=True)


@pytest.mark.parametrize("name", OBJECTS)
def test_it_follows_the_schema_of_kubernetes(name: str):
    check(OBJECTS[name])


@each_pod
def test_its_pods_follow_the_schema_of_kubernetes(name: str):
    pod = pods()[name]
    check({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, "spec": pod["spec"]})


def test_the_validator_finds_what_is_wrong():
    validator = pytest.importorskip("kubernetes_validate")
    pod = {"apiVersion": "v1", "kind": "Pod", "spec": {"contianers": []}}
    with pytest.raises(validator.ValidationError):
        check(pod)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_kustomize_builds_it(folder: Path):
    done = run(tool("kubectl"), "kustomize", folder)
    assert done.returncode == 0, done.stderr
    built = list(yaml.safe_load_all(done.stdout))
    for document in built:
        check(document)
        assert document["metadata"].get("namespace", "slotwise") == "slotwise"
    servers = [each for each in built if each["metadata"]["name"] == "server"]
    assert bool(servers) is (folder != BASE)
    if folder.name == "gpu":
        (pod,) = [each["spec"]["template"] for each in servers if each["kind"] == "Deployment"]
        assert [each["name"] for each in containers(pod)] == ["kernels", "server"]
        assert {each["image"].rpartition("-")[2] for each in containers(pod)} == {"gpu"}
        assert pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_what_a_kustomization_names_exists(folder: Path):
    (content,) = documents(folder / "kustomization.yaml")
    named = content["resources"] + [patch["path"] for patch in content.get("patches", [])]
    for generator in content.get("configMapGenerator", []):
        named += generator["files"]
    for name in named:
        assert (folder / name).exists(), name
    used = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}
    assert used <= set(named)


@each_pod
def test_a_pod_may_no_more_than_the_restricted_profile_allows(name: str):
    pod = pods()[name]
    spec = pod["spec"]
    whole = spec["securityContext"]
    assert whole["runAsNonRoot"] is True
    assert whole["runAsUser"] >= 10_000
    assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    assert not list(walk(spec, lambda key, _: key in {"hostPath", "hostPort", "privileged"}))
    for each in containers(pod):
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        for side in ("requests", "limits"):
            assert set(each["resources"][side]) >= {"cpu", "memory"}


@each_pod
def test_no_service_makes_variables_that_settings_would_refuse(name: str):
    assert pods()[name]["spec"]["enableServiceLinks"] is False


@each_pod
def test_a_pod_mounts_what_it_has(name: str):
    pod = pods()[name]
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    mounted = {mount["name"] for each in containers(pod) for mount in each["volumeMounts"]}
    assert mounted == set(volumes)
    # The rest of the image cannot be written to.
    for each in pod["spec"]["containers"]:
        places = {mount["mountPath"] for mount in each["volumeMounts"]}
        assert places >= {"/tmp", "/var/cache/slotwise", "/var/lib/slotwise"}
    made = {generator["name"] for generator in _kustomization()["configMapGenerator"]}
    for volume in volumes.values():
        if "configMap" in volume:
            assert volume["configMap"]["name"] in made


def _kustomization() -> dict[str, Any]:
    return documents(BASE / "kustomization.yaml")[0]


def test_the_classes_are_where_the_settings_say():
    for name, pod in pods().items():
        for each in containers(pod):
            for env in each.get("env", []):
                if env["name"] == "SLOTWISE_SLO_CONFIG":
                    folder, _, file = env["value"].rpartition("/")
                    assert folder in {mount["mountPath"] for mount in each["volumeMounts"]}, name
                    assert file in _kustomization()["configMapGenerator"][0]["files"]


def test_probes_ask_for_paths_that_exist(sidecar_paths: set[str]):
    seen = 0
    for name, pod in pods().items():
        for each in containers(pod):
            ports = {port["name"] for port in each.get("ports", [])}
            for key, probe in walk(each, lambda key, _: str(key).endswith("Probe")):
                asked = probe["httpGet"]
                assert asked["port"] in ports, name
                if each["name"] == "sidecar":
                    wanted = "/readyz" if key == "readinessProbe" else "/healthz"
                    assert asked["path"] == wanted
                    assert asked["path"] in sidecar_paths
                else:
                    assert asked["path"] == OTHERS_PATHS[each["name"]]
                seen += 1
    assert seen == 9


def test_prometheus_is_sent_to_ports_and_paths_that_exist(sidecar_paths: set[str]):
    paths = sidecar_paths | {METRICS_PATH}
    asked = 0
    for name, pod in pods().items():
        notes = pod["metadata"].get("annotations", {})
        if notes.get("prometheus.io/scrape") == "true":
            (only,) = pod["spec"]["containers"]
            ports = {str(port["containerPort"]) for port in only["ports"]}
            assert notes["prometheus.io/port"] in ports, name
            assert notes["prometheus.io/path"] in paths, name
            asked += 1
    assert asked == 2


def _selected(wanted: dict[str, str]) -> dict[str, Any]:
    """The one template that bears these labels."""
    (pod,) = [pod for pod in pods().values() if wanted.items() <= pod["metadata"]["labels"].items()]
    return pod


def test_every_selector_selects_and_every_port_is_open():
    labels = [pod["metadata"]["labels"] for pod in pods().values()]
    # What KubeRay gives its own.
    labels.append({"ray.io/is-ray-node": "yes"})
    seen = 0
    for name, each in OBJECTS.items():
        spec = each.get("spec", {})
        selector = spec.get("podSelector") or spec.get("selector")
        if not selector:
            continue
        wanted = selector.get("matchLabels", selector)
        assert any(wanted.items() <= given.items() for given in labels), name
        if each["kind"] == "Service":
            (only,) = _selected(wanted)["spec"]["containers"]
            opened = {port["name"]: port["containerPort"] for port in only["ports"]}
            for port in spec["ports"]:
                assert opened[port["targetPort"]] == port["port"]
        seen += 1
    assert seen >= 10


def test_a_disruption_leaves_somebody_and_can_happen():
    deployments = {
        each["metadata"]["name"]: each for each in OBJECTS.values() if each["kind"] == "Deployment"
    }
    budgets = [each for each in OBJECTS.values() if each["kind"] == "PodDisruptionBudget"]
    assert budgets
    for budget in budgets:
        replicas = deployments[budget["metadata"]["name"]]["spec"]["replicas"]
        assert 0 < budget["spec"]["minAvailable"] < replicas


def test_every_secret_is_in_the_docs():
    page = (ROOT / "docs/deployment.md").read_text(encoding="utf-8")
    files = [*DEPLOY.glob("kubernetes/**/*.yaml"), *DEPLOY.glob("kuberay/*.yaml")]
    found = [
        value
        for path in files
        for _, value in walk(documents(path), lambda key, _: key == "secretKeyRef")
    ]
    assert {value["name"] for value in found} == {"slotwise"}
    keys = {value["key"] for value in found}
    assert keys == {"api-token", "database-url", "mlflow-database-url", "vllm-api-key"}
    assert all(f"--from-literal={key}=" in page for key in keys)
