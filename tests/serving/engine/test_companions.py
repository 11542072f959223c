"""vLLM's companions that do not fit the installed torch are hidden from what we start."""

import subprocess
import sys
from pathlib import Path

import pytest

from serving.engine import EngineConfig, companions
from serving.serve import launch
from serving.settings import Settings

LOOK = """
import importlib.util, subprocess, sys
print([importlib.util.find_spec(name) for name in ("torchvision", "torchaudio", "torchcodec")])
try:
    import torchvision
except ImportError:
    print("not there")
print(sys.modules.get("customized"))
"""


@pytest.mark.parametrize(
    ("torch", "torchvision", "fits"),
    [
        ("2.13.0+cpu", "0.28.0", False),
        ("2.13.0+cpu", "0.28.0+cpu", True),
        ("2.13.0", "0.28.0", True),
        ("2.13.0+cpu", None, True),
        (None, "0.28.0", True),
    ],
)
def test_builds_for_cpus_go_together(torch: str, torchvision: str, fits: bool) -> None:
    assert companions.fitting(torch, torchvision) is fits


@pytest.fixture
def misfit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A torchvision that cannot be imported, and a customization of the user's own."""
    versions = {"torch": "2.13.0+cpu", "torchvision": "0.28.0"}
    monkeypatch.setattr(companions, "_version", versions.get)
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator does not exist')\n")
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nsys.modules['customized'] = 'by user'\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def test_engines_do_not_see_them_nor_do_their_children(misfit: None) -> None:
    served = launch("m", (), Settings(), name="m", told={})
    for environment in (EngineConfig(model="m").environment(), served.environment):
        command = [sys.executable, "-P", "-c", LOOK]
        again = [
            sys.executable,
            "-c",
            f"import subprocess; subprocess.run({command!r}, check=True)",
        ]
        for each in (command, again):
            done = subprocess.run(each, env=environment, capture_output=True, text=True, check=True)
            assert done.stdout.splitlines() == ["[None, None, None]", "not there", "by user"]


def test_companions_that_fit_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(companions, "_version", {"torch": "2.13.0", "torchvision": "0.28.0"}.get)
    assert companions.environment() == {}
