"""The README's commands and numbers are true."""

import json
import re
from pathlib import Path

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
    rows = re.findall(r"^\| `([a-z-]+)` \| ([\d.]+) % \| ([\d.]+) s", README, re.MULTILINE)
    assert {"fcfs", "slotwise", "slotwise-oracle"} <= {policy for policy, _, _ in rows}
    for policy, attainment, mean_e2e in rows:
        figures = result["policies"][policy]
        assert f"{100 * figures['slo_attainment']:.1f}" == attainment
        assert f"{figures['mean_e2e_s']:.1f}" == mean_e2e
