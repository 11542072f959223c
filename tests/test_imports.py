"""Imports run one way, and importing a package does no work."""

import ast
import subprocess
import sys
from importlib import import_module
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


@pytest.mark.parametrize("package", ["predictor", "scheduler", "training", "serving"])
def test_every_name_of_a_package_is_there_and_is_listed(package):
    if package == "serving":
        pytest.importorskip("fastapi", reason="the sidecar is not installed (extra: serving)")
    module = import_module(package)
    assert module.__all__ == sorted(module.__all__)
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        home = getattr(module, name).__module__
        assert home.startswith(f"{package}."), (name, home)


def test_the_names_that_type_checkers_see_are_those_that_are_there():
    """mypy reads the imports, Python the table: they must agree."""
    for package in ("predictor", "scheduler", "training", "serving"):
        tree = ast.parse((ROOT / package / "__init__.py").read_text(encoding="utf-8"))
        (branch,) = (node for node in tree.body if isinstance(node, ast.If))
        seen = {
            alias.name: node.module
            for node in branch.body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        table = next(
            ast.literal_eval(node) for node in ast.walk(tree) if isinstance(node, ast.Dict)
        )
        assert seen == table
        assert set(seen) == set(import_module(package).__all__)


def test_a_name_that_no_package_has_is_an_attribute_error():
    package, name = import_module("predictor"), "Lengthpredictor"
    with pytest.raises(AttributeError, match="'predictor' has no attribute 'Lengthpredictor'"):
        getattr(package, name)


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
