"""The table of ``slotwise train`` on a terminal of 80 columns."""

from io import StringIO

import pytest
from rich.console import Console

from serving.train import score_table

LLMS = [
    *("Qwen--Qwen2.5-7B-Instruct-1M", "Qwen--Qwen2.5-14B-Instruct", "Qwen--Qwen2.5-32B-Instruct"),
    *("mistralai--Mixtral-8x7B-Instruct-v0.1", "google/gemma-3-4b-it", "meta-llama--Llama-3.2-1B"),
]
SCORES = {
    **{"rows": 123456, "tau_b": 0.512, "mae": 203.4, "crps": 145.7, "skill": 0.567},
    **{"coverage_90": 0.904, "coverage_80": 0.801, "width_80": 812.9},
}


def printed(llms: list[str]) -> list[str]:
    baselines = {"marginal": SCORES, "gaussian": SCORES, "noise_ceiling": SCORES}
    document = {"llms": dict.fromkeys(llms, SCORES), "all": {**SCORES, **baselines}}
    console = Console(file=StringIO(), width=80)
    console.print(score_table(document))
    return console.file.getvalue().splitlines()


def test_every_llm_has_its_whole_name_and_all_figures_on_one_line() -> None:
    lines = printed(LLMS)
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)
    for llm in LLMS:
        name = llm.replace("--", "/").split("/")[1]
        (line,) = (line for line in lines if line.split()[:1] == [name])
        assert line.split()[1:] == [
            "123456",
            "0.512",
            "203",
            "146",
            "0.904",
            "0.801",
            "813",
            "0.567",
        ]
    (line,) = (line for line in lines if line.strip().startswith("knows nothing of the prompt"))
    assert "0.904" in line


@pytest.mark.parametrize(
    "name", ["Same-7B", "A-very-long-name-that-no-table-has-room-for-7B-Instruct"]
)
def test_names_are_never_alike_nor_cut(name: str) -> None:
    text = "".join(
        part.split()[0] for part in printed([f"one--{name}", f"two--{name}"]) if part.strip()
    )
    for organisation in ("one", "two"):
        assert f"{organisation}--{name}" in text.replace("-----", "")
