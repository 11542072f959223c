"""Where a policy of the user's is imported from."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from serving.policy_folder import make_importable, own_folder

ROOT = Path(__file__).parents[2]
POLICY = """
import sys
from scheduler.policies.ordered import OrderedPolicy, by_arrival

class Mine(OrderedPolicy):
    def __init__(self):
        super().__init__("mine", by_arrival)
"""


def test_the_current_folder_counts_for_own_policies_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert own_folder("fcfs", "slotwise-oracle") is None
    assert own_folder("fcfs", "mine:Mine") == tmp_path


def test_a_folder_is_searched_last_and_once(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", ["first", "second"])
    for _ in range(2):
        make_importable(tmp_path)
    make_importable(None)
    assert sys.path == ["first", "second", str(tmp_path)]


@pytest.fixture
def folder(tmp_path):
    """A policy beside a package that is called like one of ours."""
    (tmp_path / "mine.py").write_text(POLICY)
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "scheduler" / "__init__.py").write_text("raise ImportError('of the user')\n")
    return tmp_path


def slotwise(folder, *arguments, **variables):
    # As the `slotwise` command: its own path does not begin with the user's folder.
    command = [sys.executable, "-P", "-c", "from serving.cli import main; main()", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "300", **variables}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("by", ["the current folder", "the setting"])
def test_a_command_finds_the_policy(folder, by, tmp_path_factory):
    variables = {"SLOTWISE_POLICY": "mine:Mine"}
    where = folder
    if by == "the setting":
        where = tmp_path_factory.mktemp("elsewhere")
        variables["SLOTWISE_POLICY_FOLDER"] = str(folder)
    done = slotwise(where, "config", "check", **variables)
    assert done.returncode == 0, done.stderr
    assert "good:" in done.stdout


@pytest.mark.parametrize(
    "command",
    [
        ("simulate", "--engine-profile", "h100-llama-3.1-8b", "--workload", "sharegpt"),
        ("capacity", "--engine-profile", "h100-llama-3.1-8b", "--workload", "sharegpt"),
        ("bench",),
    ],
    ids=lambda command: command[0],
)
def test_a_command_says_at_once_what_is_wrong(folder, command):
    done = slotwise(folder, *command, "--policies", "fcfs,mine:Mime")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "mine.py has no class 'Mime': did you mean 'Mine'?" in " ".join(done.stderr.split())
