"""``slotwise validate-simulator``: a recorded run beside its simulation."""

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from scheduler.simulator.validation import Comparison, validate
from serving.report.files import write_atomically

Comparisons = dict[str, dict[str, Comparison]]


def run_validation(folder: Path, output: Path | None, console: Console) -> None:
    """Replay the run on its profile, print the comparison, and write it if asked to."""
    found = validate(folder)
    console.print(_table(found))
    if output is not None:
        write_atomically(output, json.dumps(_document(found), indent=1) + "\n")
        console.print(f"result: {output}", highlight=False, soft_wrap=True)


def _document(found: Comparisons) -> dict[str, object]:
    errors = [abs(comparison.error) for metric in found.values() for comparison in metric.values()]
    return {
        "max_abs_error": max(errors),
        "metrics": {
            metric: {
                statistic: {"measured": c.measured, "simulated": c.simulated, "error": c.error}
                for statistic, c in comparisons.items()
            }
            for metric, comparisons in found.items()
        },
    }


def _table(found: Comparisons) -> Table:
    table = Table(title="Measured and simulated", title_justify="left")
    for header in ("metric", "statistic", "measured s", "simulated s", "error"):
        table.add_column(header, justify="left" if header in ("metric", "statistic") else "right")
    for metric, comparisons in found.items():
        for statistic, c in comparisons.items():
            table.add_row(
                metric, statistic, f"{c.measured:.4f}", f"{c.simulated:.4f}", f"{c.error:+.2%}"
            )
    return table
