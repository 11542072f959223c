from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from serving.report.document import TPOT_DEFINITION
from serving.report.grid import Grid, class_grid, policy_grid
from serving.report.table import print_tables


def printed(document: dict[str, Any], width: int = 240) -> str:
    console = Console(file=StringIO(), width=width)
    print_tables(document, console)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def column(grid: Grid, header: str) -> tuple[tuple[str, ...], set[int]]:
    found = next(c for c in grid.columns if c.header.replace("\n", " ") == header)
    return found.cells, set(found.best)


@pytest.fixture
def pair(make: Any) -> dict[str, Any]:
    base = make.run("fcfs", records=(*(make.ok(f"m{i}", 50.0, met=i == 0) for i in range(8)),))
    ours = make.run("slotwise", records=(*(make.ok(f"m{i}", 20.0, met=i < 5) for i in range(8)),))
    return make.document(base, ours)  # type: ignore[no-any-return]


def test_ratios_to_fcfs_and_best_of_each_column(pair: dict[str, Any]) -> None:
    grid = policy_grid(pair)
    assert grid.labels[0].cells == ("fcfs", "slotwise")
    assert column(grid, "SLO met (all)") == (("12.5 %", "62.5 % (5.0x)"), {1})
    assert column(grid, "e2e s mean") == (("50.00", "20.00 (0.40x)"), {1})
    assert column(grid, "TPOT ms mean") == (("2500.0", "1000.0"), {1})
    assert column(grid, "queue max") == (("7", "7"), set())


def test_no_ratio_without_fcfs_or_to_nothing(make: Any) -> None:
    alone = policy_grid(make.document(make.run("sjf"), make.run("edf")))
    assert column(alone, "e2e s mean")[0] == ("4.00", "4.00")
    failed = make.run("fcfs", records=(make.broken("a", "failed"),))
    grid = policy_grid(make.document(failed, make.run("sjf")))
    assert column(grid, "SLO met (all)")[0] == ("0.0 %", "33.3 %")
    assert column(grid, "e2e s mean")[0] == ("-", "4.00")


def test_fault_columns_only_when_there_are_faults(make: Any) -> None:
    fine = make.run(records=(make.ok("a", 1.0),), steps=())
    headers = [c.header.strip() for c in policy_grid(make.document(fine)).columns]
    assert "failed" not in headers
    headers = [c.header.strip() for c in policy_grid(make.document(make.run())).columns]
    assert "failed" in headers


def test_class_rows_stand_together(make: Any) -> None:
    other = make.run("sjf", records=(make.ok("a", 1.0),))
    grid = class_grid(make.document(make.run("fcfs"), other))
    assert grid.labels[0].cells == ("batch", "code", "code")
    assert grid.labels[1].cells == ("fcfs", "fcfs", "sjf")
    assert grid.section_ends == {0}
    assert column(grid, "e2e s p50") == (("6.00", "3.00", "1.00"), {2})


def test_print_holds_tables_definition_and_error(make: Any, pair: dict[str, Any]) -> None:
    text = printed(pair)
    assert "62.5 % (5.0x)" in text
    assert "Per class" in text
    assert TPOT_DEFINITION in text
    broken = make.run("x[bold]y[/bold]", error="engine died, see build/engine.log")
    assert "x[bold]y[/bold] ended early: engine died, see build/engine.log" in printed(
        make.document(broken)
    )


@pytest.mark.parametrize("width", [40, 80, 120])
def test_narrow_console_continues_below_and_loses_nothing(pair: dict[str, Any], width: int) -> None:
    text = printed(pair, width)
    assert max(map(len, text.splitlines())) <= width
    for grid in (policy_grid(pair), class_grid(pair)):
        for each in grid.columns:
            assert all(cell in text for cell in each.cells)


def test_no_policies(make: Any) -> None:
    assert TPOT_DEFINITION in printed(make.document())
