"""Every function says what it takes and returns, and no kernel takes a long list."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("predictor", "scheduler", "training", "serving", "benchmarks")
COMPILERS = {"njit", "compiled", "inlined"}
MOST_ARGUMENTS = 7

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions_of(source):
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, Function)]


def arguments_of(function):
    each = function.args
    named = [*each.posonlyargs, *each.args, *each.kwonlyargs]
    return named + [argument for argument in (each.vararg, each.kwarg) if argument is not None]


def unannotated(source):
    """Functions that lack the type of an argument (``self`` and ``cls`` aside) or of the result."""
    return [
        function.name
        for function in functions_of(source)
        if function.returns is None
        or any(
            a.annotation is None and a.arg not in ("self", "cls") for a in arguments_of(function)
        )
    ]


def is_compiled(function):
    names = {
        node.id if isinstance(node, ast.Name) else node.attr
        for decorator in function.decorator_list
        for node in ast.walk(decorator)
        if isinstance(node, ast.Name | ast.Attribute)
    }
    return bool(names & COMPILERS)


def long_kernels(source):
    """Compiled functions with more arguments than :data:`MOST_ARGUMENTS`."""
    return [
        function.name
        for function in functions_of(source)
        if is_compiled(function) and len(arguments_of(function)) > MOST_ARGUMENTS
    ]


@pytest.fixture(scope="module")
def sources():
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    assert len(paths) > 300
    return {str(path.relative_to(ROOT)): path.read_text() for path in paths}


def test_every_function_is_annotated(sources):
    found = {path: unannotated(source) for path, source in sources.items()}
    assert {path: names for path, names in found.items() if names} == {}


def test_no_untyped_definition_is_excused(sources):
    assert [path for path, source in sources.items() if "no-untyped-def" in source] == []


def test_no_kernel_has_more_than_seven_arguments(sources):
    found = {path: long_kernels(source) for path, source in sources.items()}
    assert {path: names for path, names in found.items() if names} == {}
    kernels = [f for source in sources.values() for f in functions_of(source) if is_compiled(f)]
    assert len(kernels) > 100


@pytest.mark.parametrize(
    "source",
    [
        "def f(a: int): ...",
        "def f(a) -> int: ...",
        "def f(*a) -> int: ...",
        "async def f(*, a) -> int: ...",
        "class C:\n    def f(self, a) -> int: ...",
    ],
)
def test_what_lacks_a_type_is_found(source):
    assert unannotated(source) == ["f"]


@pytest.mark.parametrize(
    "decorator", ["compiled", "inlined", "njit(cache=True)", "numba.njit", "compiled.inlined"]
)
def test_a_long_kernel_is_found(decorator):
    long, short = (", ".join(f"a{k}: int" for k in range(n)) for n in (8, 7))
    assert long_kernels(f"@{decorator}\ndef f({long}) -> int: ...") == ["f"]
    assert long_kernels(f"@{decorator}\ndef f({short}) -> int: ...") == []
    assert long_kernels(f"def f({long}) -> int: ...") == []
