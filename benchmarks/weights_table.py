"""The table of docs/benchmarks.md that says on what each weight was chosen."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

Row = dict[str, Any]


def docs_table(rows: Sequence[Row]) -> str:
    """A line for those that follow each other and were chosen on the same."""
    lines = ["| weights | chosen on | seeds |", "|---|---|---|"]
    for (owner, chosen_on), some in groupby(rows, key=lambda row: (_owner(row), row["chosen_on"])):
        group = list(some)
        named = ", ".join(f"`{_name(row)}` {row['value']:g}" for row in group if _number(row))
        weights = f"`{owner}`: {named}" if named else owner
        lines.append(f"| {weights} | {chosen_on} | {_seeds(group[0])} |")
    return "\n".join(lines)


def _owner(row: Row) -> str:
    setting: str = row["setting"]
    return setting.partition(":")[2].rpartition(".")[0] or setting.rpartition(":")[0] or setting


def _name(row: Row) -> str:
    return str(row["setting"]).rpartition(":")[2].rpartition(".")[2]


def _number(row: Row) -> bool:
    return not isinstance(row["value"], str)


def _seeds(row: Row) -> str:
    seeds = row["seeds"]
    if seeds is None:
        return "-"
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))
