"""The README's commands and numbers are true."""

import json
import re
from pathlib import Path

import pytest

from benchmarks.tables import TABLES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_two_commands_stand_in_the_readme_and_in_the_makefile():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("demo", "test"):
        assert f"make {target}" in README
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_every_make_target_the_readme_names_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z -]*):", makefile, re.MULTILINE))
    known = {name for line in targets for name in line.split()}
    assert set(re.findall(r"make ([a-z-]+)", README)) <= known


def test_every_file_the_readme_links_to_exists():
    for target in re.findall(r"\]\((?!http)([^)#]+)", README):
        assert (ROOT / target).exists(), target


def test_the_numbers_in_the_readme_are_those_of_the_result_file():
    """Each row of the README's table says what ``benchmarks/results/reference.json`` says."""
    result = json.loads((ROOT / "benchmarks/results/reference.json").read_text(encoding="utf-8"))
    row = r"^\| `([a-z-]+)` \| ([\d.]+) % \|" + r" ([\d.]+) s \|" * 4
    rows = re.findall(row, README, re.MULTILINE)
    assert {"fcfs", "slotwise", "slotwise-oracle"} <= {policy for policy, *_ in rows}
    for policy, attainment, *latencies_s in rows:
        figures = result["policies"][policy]
        assert f"{100 * figures['slo_attainment']:.1f}" == attainment
        expected_s = [figures[f"{each}_e2e_s"] for each in ("mean", "p50", "p90", "p99")]
        assert [f"{seconds:.1f}" for seconds in expected_s] == latencies_s


@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"{table.name}, {table.page}")
def test_the_tables_are_those_that_the_command_writes(table):
    text = (ROOT / table.page).read_text(encoding="utf-8")
    assert table.written(text) == text


def test_the_capacities_in_the_readme_are_those_of_the_result_file():
    rows = re.findall(r"^\| `([a-z-]+)`((?: \| [\d.]+/s)+) \|$", README, re.MULTILINE)
    source = ROOT / "benchmarks/results/published.json"
    if not source.exists():
        assert not rows
        return
    result = json.loads(source.read_text(encoding="utf-8"))
    names = {"sarathi-edf", "qoserve", "slidingserve", "slotwise"}
    measured = [of_all for of_all in result["capacity"].values() if names <= set(of_all)]
    assert {policy for policy, _ in rows} == (names if measured else set())
    for policy, rates in rows:
        expected = [of_all[policy]["capacity_rps"] for of_all in measured]
        assert re.findall(r"[\d.]+(?=/s)", rates) == [f"{rate:.2f}" for rate in expected]
