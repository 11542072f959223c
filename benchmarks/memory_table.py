"""The table of docs/benchmarks.md on prompt length, memory and load."""

from typing import Any

Row = dict[str, Any]

_HEAD = (
    "| prompt mean | KV memory | TTFT | load | `slotwise-oracle` | best rival | | more |",
    "|---|---|---|---|---|---|---|---|",
)


def docs_table(document: dict[str, Any]) -> str:
    """A line for each cell: shares of SLOs attained in %, and by how many points ours is ahead."""
    return "\n".join([*_HEAD, *map(_line, document["cells"])])


def _line(row: Row) -> str:
    ours, rival = (
        100.0 * row["policies"][name]["slo_attainment"]
        for name in ("slotwise-oracle", row["best_rival"])
    )
    cells = (
        f"{row['prompt_mean']:,}",
        row["memory"],
        f"{row['ttft_s']:g} s",
        f"{row['load']:g}",
        f"{ours:.1f}",
        f"`{row['best_rival']}`",
        f"{rival:.1f}",
        f"{100.0 * row['margin']:+.1f}",
    )
    return f"| {' | '.join(cells)} |"
