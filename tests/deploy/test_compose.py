"""The Compose file: what is named exists, nobody has more rights than needed."""

import os
import re
from fnmatch import fnmatch
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from deployment import COMPOSE, ROOT, compose, documents, resolved, run, tool

from serving.middleware.asgi import METRICS_PATH

SERVICES = compose()["services"]
# vLLM's own server, and Grafana's, Prometheus's, MLflow's.
VLLM_PATHS = {"/health", "/metrics"}
OTHERS_PATHS = {"mlflow": "/health", "prometheus": "/-/ready", "grafana": "/api/health"}

each_service = pytest.mark.parametrize("name", SERVICES)


def required() -> list[str]:
    """Variables without which Compose does nothing."""
    return sorted(set(re.findall(r"\$\{(\w+):\?", (COMPOSE / "compose.yaml").read_text())))


def mounts(name: str) -> list[tuple[str, str]]:
    """``(source, target)`` of each volume of a service."""
    volumes = SERVICES[name].get("volumes", [])
    return [(source, target) for source, target, *_ in (text.split(":") for text in volumes)]


def port_of(name: str) -> set[int]:
    """The ports that a service is told to listen on."""
    told = " ".join([*SERVICES[name].get("command", []), str(SERVICES[name]["environment"])])
    return {int(port) for port in re.findall(r"(?:--port=|_PORT': ')(\d+)", told)}


@pytest.mark.parametrize("name", ["compose.yaml", "compose.gpu.yaml"])
def test_it_follows_the_compose_specification(name: str):
    done = run(tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", COMPOSE / name)
    assert done.returncode == 0, done.stdout + done.stderr


def composer() -> list[str]:
    """``docker compose``, or the program by itself."""
    if run(tool("docker"), "compose", "version").returncode == 0:
        return [tool("docker"), "compose"]
    return [tool("docker-compose")]


@pytest.mark.parametrize("files", [["compose.yaml"], ["compose.yaml", "compose.gpu.yaml"]])
def test_docker_compose_takes_it(files: list[str]):
    named = [word for name in files for word in ("--file", str(COMPOSE / name))]
    given = dict.fromkeys([*required(), "MODEL", "MODELS"], "given")
    command = [*composer(), *named, "config", "--quiet"]
    assert run(*command, env={**os.environ, **given}).returncode == 0
    for name in required():
        refused = run(*command, env={**os.environ, **given, name: ""})
        assert refused.returncode != 0
        assert name in refused.stderr


def test_every_variable_is_explained_in_the_example():
    example = (COMPOSE / ".env.example").read_text()
    named = set(re.findall(r"^(?:# )?([A-Z_]+)=", example, re.MULTILINE))
    used = set()
    for path in (COMPOSE / "compose.yaml", COMPOSE / "compose.gpu.yaml"):
        used |= set(re.findall(r"\$\{(\w+)", path.read_text()))
    assert used == named
    assert set(required()) <= set(re.findall(r"^([A-Z_]+)=$", example, re.MULTILINE))


def test_what_a_service_leans_on_is_there():
    whole = compose()
    for name, service in SERVICES.items():
        assert set(service["networks"]) <= set(whole["networks"]), name
        assert set(service.get("secrets", [])) <= set(whole["secrets"]), name
        for other, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}
            assert "healthcheck" in SERVICES[other]
    used = {source for name in SERVICES for source, _ in mounts(name) if "/" not in source}
    assert used == set(whole["volumes"])


@each_service
def test_every_file_that_is_mounted_exists(name: str):
    for source, _ in mounts(name):
        if source.startswith("."):
            assert (COMPOSE / source).resolve().exists(), source


@each_service
def test_nobody_has_more_rights_than_needed(name: str):
    service = SERVICES[name]
    assert re.match(r"[1-9]\d*:\d+$", service["user"])
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["deploy"]["resources"]["limits"]["memory"]
    assert "healthcheck" in service
    # Secrets that Compose copies into a container need one that can be written to.
    assert service["read_only"] is ("secrets" not in service)
    assert not {"privileged", "cap_add", "network_mode", "pid"} & set(service)


def test_ports_are_opened_to_this_machine_alone():
    opened = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(opened) == 5
    assert all(port.startswith("127.0.0.1:") for port in opened)
    assert "ports" not in SERVICES["postgresql"]
    assert SERVICES["postgresql"]["networks"] == ["inner"]
    assert compose()["networks"]["inner"] == {"internal": True}


def test_health_is_asked_for_where_it_is_told(sidecar_paths: set[str]):
    for name, service in SERVICES.items():
        if name == "postgresql":
            continue
        url = urlsplit(service["healthcheck"]["test"][-1])
        if name in ("server", "sidecar"):
            assert url.path in (sidecar_paths if name == "sidecar" else VLLM_PATHS)
            assert url.port in port_of(name)
        else:
            assert url.path == OTHERS_PATHS[name]
        for port in service.get("ports", []):
            assert port.endswith(f":{url.port}")


def test_urls_name_services_and_their_ports():
    ports = {"postgresql": {5432}, "mlflow": port_of("mlflow"), "prometheus": {9090}}
    urls = re.findall(r"\w[\w+]*://[^\s\"']+", yaml.safe_dump(SERVICES) + _grafana())
    inner = [urlsplit(url) for url in urls if "127.0.0.1" not in url]
    assert len(inner) >= 5
    for url in inner:
        assert url.port in ports[str(url.hostname)], url
    allowed = SERVICES["mlflow"]["environment"]["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert urlsplit(SERVICES["server"]["environment"]["MLFLOW_TRACKING_URI"]).netloc in allowed


def test_mlflows_database_is_made():
    url = SERVICES["mlflow"]["environment"]["MLFLOW_BACKEND_STORE_URI"]
    scripts = " ".join(path.read_text() for path in (COMPOSE / "postgresql").glob("*.sql"))
    assert f"CREATE DATABASE {urlsplit(url).path.strip('/')};" in scripts
    assert ("./postgresql", "/docker-entrypoint-initdb.d") in mounts("postgresql")


def test_prometheus_asks_for_paths_that_exist(sidecar_paths: set[str]):
    (config,) = documents(COMPOSE / "prometheus.yaml")
    paths = {
        "sidecar:8400": sidecar_paths,
        "server:8000": {METRICS_PATH, *VLLM_PATHS},
        # prometheus_client answers it.
        "server:9400": {"/metrics"},
    }
    asked = []
    for job in config["scrape_configs"]:
        for target in job["static_configs"][0]["targets"]:
            name, _, port = target.partition(":")
            assert int(port) in port_of(name)
            assert job["metrics_path"] in paths[target]
            asked.append(target)
    assert set(asked) == set(paths)


def test_prometheus_is_given_the_token_and_the_rules():
    (config,) = documents(COMPOSE / "prometheus.yaml")
    (token,) = [
        job["authorization"]["credentials_file"]
        for job in config["scrape_configs"]
        if "authorization" in job
    ]
    assert token == f"/run/secrets/{SERVICES['prometheus']['secrets'][0]}"
    secret = compose()["secrets"][SERVICES["prometheus"]["secrets"][0]]
    assert secret == {"environment": "SLOTWISE_API_TOKEN"}
    (rules,) = [target for source, target in mounts("prometheus") if "alerts" in source]
    assert any(fnmatch(rules, pattern) for pattern in config["rule_files"])
    flags = dict(flag.split("=") for flag in SERVICES["prometheus"]["command"])
    assert ("./prometheus.yaml", flags["--config.file"]) in mounts("prometheus")


def test_promtool_takes_the_configuration():
    done = run(tool("promtool"), "check", "config", "--syntax-only", COMPOSE / "prometheus.yaml")
    assert done.returncode == 0, done.stderr
    done = run(tool("promtool"), "check", "rules", ROOT / "serving/grafana/alerts.yaml")
    assert done.returncode == 0, done.stderr


def _grafana() -> str:
    return (COMPOSE / "grafana/datasources.yaml").read_text()


def test_grafana_finds_its_data_and_the_packages_dashboard():
    targets = dict(mounts("grafana"))
    (provider,) = documents(COMPOSE / "grafana/dashboards.yaml")[0]["providers"]
    dashboard = Path(targets["../../serving/grafana/slotwise.json"])
    assert str(dashboard.parent) == provider["options"]["path"]
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == str(dashboard)
    for kind in ("datasources", "dashboards"):
        assert targets[f"./grafana/{kind}.yaml"].startswith(f"/etc/grafana/provisioning/{kind}/")
    (source,) = yaml.safe_load(_grafana())["datasources"]
    assert source["type"] == "prometheus"


def test_variables_are_filled_in_as_compose_does():
    text = "${A:-one} ${B:?told} ${C:-}"
    assert resolved(text) == "one given "
    assert resolved(text, {"A": "1", "B": "2", "C": "3"}) == "1 2 3"
