"""The result table in the terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from serving.report.document import TPOT_DEFINITION, Document, policies
from serving.report.grid import BASELINE, Column, Grid, class_grid, policy_grid


def print_tables(document: Document, console: Console) -> None:
    """Print one row per policy, then one per class and policy, then what the figures mean.

    A table wider than the console is continued below with its first columns repeated.
    """
    for grid in (policy_grid(document), class_grid(document)):
        for table in tables(grid, width=console.width):
            console.print(table)
    for line in notes(document):
        console.print(Text(line))


def tables(grid: Grid, *, width: int) -> list[Table]:
    """Return the grid as one table, or as several where it is wider than ``width`` characters.

    A grid without rows is no table at all.
    """
    if not grid.labels[0].cells:
        return []
    parts = _parts(grid, width)
    titles = [grid.title, *[f"{grid.title} (continued)"] * (len(parts) - 1)]
    return [_table(grid, part, title) for part, title in zip(parts, titles, strict=True)]


def notes(document: Document) -> list[str]:
    """Return what the reader of the tables must know: comparisons, definitions, broken runs."""
    runs = policies(document)
    lines = [
        f"{name} ended early: {run['error']}" for name, run in runs.items() if run.get("error")
    ]
    if len(runs) > 1:
        compared = f", multiples of {BASELINE} in brackets" if BASELINE in runs else ""
        lines.append(f"Best of each column in bold{compared}.")
    lines.append("Rejected, failed and timed-out requests count as not met.")
    return [*lines, TPOT_DEFINITION]


def _table(grid: Grid, columns: Sequence[Column], title: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in (*grid.labels, *columns):
        table.add_column(
            Text(column.header, style="bold"),
            justify="left" if column in grid.labels else "right",
            vertical="bottom",
            no_wrap=True,
            overflow="fold",
        )
    for row in range(len(grid.labels[0].cells)):
        cells = [_cell(column, row) for column in (*grid.labels, *columns)]
        table.add_row(*cells, end_section=row in grid.section_ends)
    return table


def _cell(column: Column, row: int) -> Text:
    return Text(column.cells[row], style="bold" if row in column.best else "")


def _parts(grid: Grid, width: int) -> list[list[Column]]:
    """Share the columns out over as many tables as ``width`` asks for, in order."""
    room = width - 2 - sum(map(_width, grid.labels))
    parts: list[list[Column]] = [[]]
    for column in grid.columns:
        taken = sum(map(_width, parts[-1]))
        if parts[-1] and taken + _width(column) > room:
            parts.append([])
        parts[-1].append(column)
    return parts


def _width(column: Column) -> int:
    """Return the characters a column takes, its gap included."""
    texts = [*column.header.splitlines(), *column.cells]
    return max(map(len, texts), default=0) + 2
