"""Writes the tables of result files into README.md and docs/benchmarks.md.

python -m benchmarks.tables

Each table stands between two marks, so that what a page says is what the result file says.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import memory_table, published_table, reference_table, weights_table

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Table:
    """Stands on ``page`` between the marks of ``name``, made from ``source`` of benchmarks/."""

    page: str
    name: str
    source: str
    text: Callable[[Any], str]

    def written(self, text: str) -> str:
        """The page's text with this table in it; raises ``ValueError`` without its marks."""
        source = ROOT / "benchmarks" / self.source
        if not source.exists():
            return replaced(text, self.name, published_table.NOT_YET)
        return replaced(text, self.name, self.text(json.loads(source.read_text(encoding="utf-8"))))


TABLES = (
    Table("README.md", "reference", "results/reference.json", reference_table.readme_table),
    Table("docs/benchmarks.md", "reference", "results/reference.json", reference_table.docs_table),
    Table("README.md", "published", "results/published.json", published_table.readme_table),
    Table("docs/benchmarks.md", "published", "results/published.json", published_table.docs_table),
    Table("docs/benchmarks.md", "memory", "results/memory-sweep.json", memory_table.docs_table),
    Table("docs/benchmarks.md", "long", "results/long-prompts.json", memory_table.docs_table),
    Table("docs/benchmarks.md", "weights", "weights.json", weights_table.docs_table),
    Table("docs/benchmarks.md", "wave", "results/published.json", published_table.wave_table),
)


def replaced(text: str, name: str, table: str) -> str:
    """The page with the table between its marks; raises ``ValueError`` without them."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"the page needs one {begin.strip()!r} and one {end!r}")
    before, rest = text.split(begin)
    after = rest.split(end)[1]
    return f"{before}{begin}{table}\n{end}{after}"


def main() -> None:
    for table in TABLES:
        path = ROOT / table.page
        path.write_text(table.written(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
