"""The wheel, away from the checkout, in a folder whose packages are called like ours."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("predictor", "scheduler", "training", "serving")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel holds, built without a network."""
    if find_spec("setuptools") is None:
        pytest.skip("setuptools is not installed")
    source, made = (tmp_path_factory.mktemp(name) for name in ("source", "site"))
    for name in OURS:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet")
    alone = ("--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(source / "out"))
    subprocess.run((*pip, *alone, str(source)), check=True, capture_output=True)
    (wheel,) = (source / "out").glob("slotwise-*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(made)
    return made


@pytest.fixture
def crowded(tmp_path: Path) -> Path:
    """A user's folder with packages of their own that are called like ours."""
    for name in OURS:
        package = tmp_path / name
        package.mkdir()
        (package / "__init__.py").write_text(f"raise ImportError('the {name} of the user')\n")
    return tmp_path


def run(site: Path, folder: Path, *command: str, **variables: str) -> str:
    """What a command prints, with the wheel's packages installed."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(site), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


# What the `slotwise` command does: its own path does not begin with the user's folder.
def slotwise(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-P", "-c", "from serving.cli import main; main()", *arguments)


def test_the_wheel_holds_all_that_the_checkout_tracks(site: Path) -> None:
    listed = subprocess.run(
        ("git", "ls-files", *OURS), cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("this is no git checkout")
    tracked = {path for path in listed.stdout.split("\n") if path and (ROOT / path).exists()}
    packed = {str(path.relative_to(site)) for path in site.rglob("*") if path.is_file()}
    assert {path for path in tracked if not path.endswith(".md")} <= packed


def test_forecasts_are_made_in_a_crowded_folder(site: Path, crowded: Path) -> None:
    prompts = crowded / "prompts.jsonl"
    prompts.write_text(json.dumps({"id": "a", "prompt": "Write a poem"}) + "\n")
    output = crowded / "lengths.jsonl"
    run(site, crowded, *slotwise("predict", "--input", "prompts.jsonl", "--output", str(output)))
    assert len(output.read_text().splitlines()) == 1


PREDICTOR_PROCESS = """
import asyncio, sys
from importlib.resources import as_file, files
from predictor.prompt import Prompt
from serving.prediction.process import PredictorProcess, worker_command

async def ask():
    with as_file(files("predictor") / "packaged") as folder:
        process = await PredictorProcess.start(worker_command(folder, "packaged"))
    print(len(await process.predict([Prompt("Write a poem", "chat")], within_s=600)))
    await process.stop()

asyncio.run(ask())
"""


def test_predictor_processes_find_our_packages(site: Path, crowded: Path) -> None:
    assert run(site, crowded, sys.executable, "-P", "-c", PREDICTOR_PROCESS) == "1\n"


ENGINE = """
import subprocess
from serving.engine import EngineConfig
from serving.serve import launch
from serving.settings import Settings

find = "import serving, training; print(serving.__file__)"
# An engine starts more processes, which get no flag of ours.
again = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {find!r}], check=True)"
config = EngineConfig(model="m")
served = launch("m", (), Settings(), name="m", told={})
for command, environment in (
    (config.command(), config.environment()), (served.command, served.environment)
):
    python = command[: command.index("-m")]
    for code in (find, again):
        subprocess.run([*python, "-c", code], env=environment, check=True)
"""


def test_engines_and_what_they_start_find_our_packages(site: Path, crowded: Path) -> None:
    found = run(site, crowded, sys.executable, "-P", "-c", ENGINE).split()
    assert found == [str(site / "serving" / "__init__.py")] * 4


ON_RAY = """
import ray
from serving.cluster.connection import connect

@ray.remote(num_cpus=1)
def where():
    import serving
    return serving.__file__

with connect(None, cpus=1):
    print("found", ray.get(where.remote()))
"""


def test_workers_of_ray_find_our_packages(site: Path, crowded: Path) -> None:
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed (extra: cluster)")
    variables = {"RAY_ADDRESS": "", "RAY_USAGE_STATS_ENABLED": "0"}
    printed = run(site, crowded, sys.executable, "-P", "-c", ON_RAY, **variables)
    assert f"found {site / 'serving' / '__init__.py'}" in printed
