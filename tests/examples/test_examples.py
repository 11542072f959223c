"""Every example is short, says how to run it, and is named where users look."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path for path in (ROOT / "examples").rglob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_says_how_to_run_it(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 60
    docstring = ast.get_docstring(ast.parse(text)) or ""
    assert re.search(r"^    (python|slotwise) ", docstring, re.MULTILINE)


def test_the_page_names_every_example():
    page = (ROOT / "docs/write-a-policy.md").read_text(encoding="utf-8")
    for path in EXAMPLES:
        assert f"(../{path.relative_to(ROOT).as_posix()})" in page


def test_the_code_on_the_page_is_that_of_the_example():
    page = (ROOT / "docs/write-a-policy.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    example = (ROOT / "examples/own_policy.py").read_text(encoding="utf-8")
    lines = {line.strip() for line in example.splitlines()}
    assert {line.strip() for line in code.splitlines()} <= lines
