"""What is in ``deploy/``, parsed, for the tests of it."""

import functools
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "compose"
BASE = DEPLOY / "kubernetes/base"
OVERLAYS = DEPLOY / "kubernetes/overlays"
KUBERAY = DEPLOY / "kuberay"

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job")
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def tool(name: str) -> str:
    """A program beside this Python or on the path; without it the test is skipped."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(*command: str | Path, **how: Any) -> "subprocess.CompletedProcess[str]":
    """Its output and status."""
    return subprocess.run(command, capture_output=True, text=True, check=False, **how)


@functools.cache
def project() -> dict[str, Any]:
    """``pyproject.toml``, the section ``project``."""
    section: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return section


def documents(path: Path) -> list[dict[str, Any]]:
    """All documents of a YAML file."""
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def resolved(text: str, variables: Mapping[str, str] | None = None) -> str:
    """``text`` as Compose reads it; what is required and not given becomes ``given``."""

    def value(match: re.Match[str]) -> str:
        name, sign, told = match.groups()
        given = (variables or {}).get(name, "")
        return given or (told if sign == "-" else "given")

    return _VARIABLE.sub(value, text)


def compose(*names: str) -> dict[str, Any]:
    """The services of ``compose.yaml``, variables filled in."""
    parsed: dict[str, Any] = {}
    for name in names or ("compose.yaml",):
        text = (COMPOSE / name).read_text(encoding="utf-8")
        parsed |= yaml.safe_load(resolved(text))
    return parsed


def dockerfiles() -> list[Path]:
    """Both of them."""
    return sorted((DEPLOY / "docker").glob("Dockerfile.*"))


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """``(instruction, rest)`` without comments, continued lines joined, arguments filled in."""
    lines = [
        line for line in dockerfile.read_text().splitlines() if not line.lstrip().startswith("#")
    ]
    joined = "\n".join(lines).replace("\\\n", " ")
    found = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    defaults: dict[str, str] = {}
    made = []
    for name, rest in found:
        if name == "ARG":
            argument, _, default = rest.partition("=")
            defaults[argument] = default
        # A variable that is no argument is the shell's.
        filled = re.sub(r"\$\{(\w+)\}", lambda m: defaults.get(m[1], m[0]), rest)
        made.append((name, " ".join(filled.split())))
    return made


def manifests() -> dict[str, dict[str, Any]]:
    """Every object that is applied to Kubernetes as it stands, by ``file:Kind/name``."""
    files = [*BASE.glob("*.yaml"), *(OVERLAYS / "cpu").glob("*.yaml"), *KUBERAY.glob("*.yaml")]
    found = [(path, each) for path in sorted(files) for each in documents(path)]
    return {
        f"{path.relative_to(DEPLOY)}:{each['kind']}/{each['metadata']['name']}": each
        for path, each in found
        if "kind" in each and each["kind"] != "Kustomization"
    }


def pods() -> dict[str, dict[str, Any]]:
    """Every template of pods, those of Ray clusters included."""
    found = {}
    for name, each in manifests().items():
        if each["kind"] in WORKLOADS:
            found[name] = each["spec"]["template"]
        elif each["kind"] == "RayService":
            cluster = each["spec"]["rayClusterConfig"]
            found[f"{name}:head"] = cluster["headGroupSpec"]["template"]
            for group in cluster["workerGroupSpecs"]:
                found[f"{name}:{group['groupName']}"] = group["template"]
    return found


def containers(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of a template, the first ones included."""
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def walk(node: Any, wanted: Callable[[Any, Any], bool]) -> Iterator[tuple[Any, Any]]:
    """All keys with their values, at any depth, that are wanted."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in pairs:
        if wanted(key, value):
            yield key, value
        if isinstance(value, dict | list):
            yield from walk(value, wanted)


def variables() -> dict[str, dict[str, str]]:
    """What each container is given in its environment, values from secrets as ``secret``."""
    found = {
        f"compose:{name}": {key: str(value) for key, value in service["environment"].items()}
        for name, service in compose()["services"].items()
        if "environment" in service
    }
    for name, pod in pods().items():
        for each in containers(pod):
            given = {env["name"]: env.get("value", "secret") for env in each.get("env", [])}
            found[f"{name}:{each['name']}"] = given
    return found
