"""What all of ``deploy/`` has in common: pinned images, no secrets, no misspelt setting."""

import json
import re
from pathlib import Path

import pytest
import typer.main
from deployment import (
    BASE,
    COMPOSE,
    DEPLOY,
    ROOT,
    compose,
    containers,
    dockerfiles,
    documents,
    instructions,
    manifests,
    pods,
    project,
    run,
    tool,
    variables,
    walk,
)

from serving import slo_config, vllm_releases
from serving.settings import Settings

FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())
_SECRET = re.compile(r"PASSWORD|TOKEN|SECRET|KEY")
_PINNED = re.compile(r"[\w./-]+:v?\d+\.\d+[\w.-]*(@sha256:[0-9a-f]{64})?")


def images() -> dict[str, str]:
    """Every image that is named anywhere, by where."""
    found = {}
    for path in dockerfiles():
        stages = [rest.split() for name, rest in instructions(path) if name == "FROM"]
        found |= {f"{path.name}:{n}": words[0] for n, words in enumerate(stages)}
    for name in ("compose.yaml", "compose.gpu.yaml"):
        for service, content in compose(name)["services"].items():
            found[f"{name}:{service}"] = content["image"]
    for name, pod in pods().items():
        found |= {f"{name}:{each['name']}": each["image"] for each in containers(pod)}
    patches = documents(DEPLOY / "kubernetes/overlays/gpu/server.yaml")
    named = walk(patches, lambda key, _: key == "image")
    return found | {f"gpu:{number}": image for number, (_, image) in enumerate(named)}


def test_every_image_has_a_version():
    assert len(images()) > 20
    wrong = {where: image for where, image in images().items() if not _PINNED.fullmatch(image)}
    assert not wrong


def test_our_own_images_bear_the_version_of_the_package():
    ours = {image for image in images().values() if image.startswith("slotwise:")}
    assert ours == {f"slotwise:{project()['version']}-{kind}" for kind in ("cpu", "gpu")}


def test_vllms_image_is_of_a_release_that_is_supported():
    theirs = {image for image in images().values() if image.startswith("vllm/")}
    assert len(theirs) == 1
    vllm_releases.check(theirs.pop().rpartition(":v")[2])


def test_every_yaml_file_passes_yamllint():
    done = run(tool("yamllint"), "--strict", "-c", DEPLOY / ".yamllint.yaml", DEPLOY)
    assert done.returncode == 0, done.stdout


def test_every_setting_exists():
    known = {f"SLOTWISE_{name.upper()}" for name in Settings.model_fields} | {"SLOTWISE_CONFIG"}
    used = {name for given in variables().values() for name in given} | {
        name
        for path in [*dockerfiles(), COMPOSE / ".env.example"]
        for line in path.read_text().splitlines()
        for name in re.findall(r"^[^#]*?\b(SLOTWISE_\w+)", line)
    }
    ours = {name for name in used if name.startswith("SLOTWISE_")}
    assert len(ours) >= 5
    assert ours <= known


def test_no_secret_has_a_value():
    """In Compose it comes from a variable that must be given, in Kubernetes from a Secret."""
    text = (COMPOSE / "compose.yaml").read_text()
    for name in re.findall(r"^\s+(\w+): (?!\$\{\w+:\?)", text, re.MULTILINE):
        assert not _SECRET.search(name), name
    for where, given in variables().items():
        if not where.startswith("compose:"):
            hidden = {name for name in given if _SECRET.search(name) or name.endswith("BASE_URL")}
            assert {given[name] for name in hidden} <= {"secret"}, where
    example = (COMPOSE / ".env.example").read_text()
    for name, value in re.findall(r"^(\w+)=(.*)$", example, re.MULTILINE):
        assert not value, name
    assert not [name for name, each in manifests().items() if each["kind"] == "Secret"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_no_url_holds_a_password(path: Path):
    given = re.findall(r"://[^/\s:@]+:(?!\$\{)[^@/\s]+@", path.read_text(encoding="utf-8"))
    assert not given


def test_the_file_with_the_secrets_is_never_committed():
    assert "deploy/compose/.env" in (ROOT / ".gitignore").read_text().splitlines()


def commands() -> list[list[str]]:
    """What our program is started with, everywhere."""
    services = compose()["services"] | compose("compose.gpu.yaml")["services"]
    given = [
        service["command"]
        for service in services.values()
        if service["image"].startswith("slotwise:") and "entrypoint" not in service
    ]
    for pod in pods().values():
        ours = [each for each in containers(pod) if "command" not in each]
        given += [each["args"] for each in ours if "args" in each]
    return given


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_a_command_has_no_unknown_flag(words: list[str]):
    from serving.cli.app import app

    command = typer.main.get_command(app)
    while hasattr(command, "commands"):
        name, *words = words
        command = command.commands[name]
    command.make_context(name, words)


def test_the_slo_classes_can_be_read_and_are_the_same_everywhere():
    files = [COMPOSE / "slotwise/slos.yaml", BASE / "slos.yaml"]
    assert len({json.dumps(slo_config.load(path).document()) for path in files}) == 1


def test_the_page_of_the_docs_names_files_that_exist():
    page = (ROOT / "docs/deployment.md").read_text(encoding="utf-8")
    named = re.findall(r"`(deploy/[\w./-]+)`", page)
    assert len(named) > 5
    for path in named:
        assert (ROOT / path).exists(), path
    for target in re.findall(r"\]\((?!http)([^)#]+)", page):
        assert (ROOT / "docs" / target).exists(), target
