"""Imports run one way, and importing a package does no work."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = {
    "torch", "vllm", "transformers", "lightgbm", "sklearn", "fastapi", "mlflow", "plotly", "ray",
}  # fmt: skip


def loaded_by(statement: str) -> set[str]:
    """Top-level modules in a fresh interpreter after a statement."""
    code = f"{statement}\nimport sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("package", ["predictor", "scheduler", "training", "serving"])
def test_importing_a_package_loads_nothing_heavy(package):
    assert not loaded_by(f"import {package}") & (HEAVY | {"numba", "scipy", "rich", "httpx"})


def test_the_distribution_needs_numpy_alone():
    loaded = loaded_by("import predictor.distribution") - loaded_by("import numpy.random")
    assert loaded - sys.stdlib_module_names <= {"predictor"}


def test_the_scheduler_knows_neither_torch_nor_vllm_nor_fastapi():
    assert not loaded_by("import scheduler.registry, scheduler.driver") & HEAVY


def test_the_command_line_answers_without_the_heavy_extras():
    assert not loaded_by("import serving.cli") & HEAVY


def test_the_import_rules_hold():
    linter = Path(sys.executable).with_name("lint-imports")
    if not linter.exists():
        pytest.skip("import-linter is not installed (extra: dev)")
    done = subprocess.run([linter], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout
