"""A simulated bench beside the recorded one: errors per policy, and whether the ranking holds.

slotwise profile MODEL --output build/cpu.json
slotwise bench ... --output recorded.json
slotwise simulate --workload sharegpt-code-chat --engine-profile build/cpu.json ...
    --output simulated.json
python benchmarks/compare_results.py recorded.json simulated.json [--output FILE]

Errors are relative to the recorded figures.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

FIGURES = ("slo_attainment", "mean_e2e_s", "mean_ttft_s", "mean_tpot_s", "duration_s")


def policies_of(path: Path) -> dict[str, Any]:
    """The figures of each policy in a result file."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["policies"]
    return found


def ranking(policies: dict[str, Any], names: list[str]) -> list[str]:
    """Highest attainment first."""
    return sorted(names, key=lambda name: -policies[name]["slo_attainment"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recorded", type=Path)
    parser.add_argument("simulated", type=Path)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    recorded, simulated = policies_of(arguments.recorded), policies_of(arguments.simulated)
    names = [name for name in recorded if name in simulated]
    errors = {
        name: {
            figure: {
                "recorded": recorded[name][figure],
                "simulated": simulated[name][figure],
                "error": simulated[name][figure] / recorded[name][figure] - 1,
            }
            for figure in FIGURES
        }
        for name in names
    }
    table = Table("policy", *FIGURES)
    for name, row in errors.items():
        cells = (
            f"{v['recorded']:.3g} / {v['simulated']:.3g} ({v['error']:+.1%})" for v in row.values()
        )
        table.add_row(name, *cells)
    Console().print(table)
    same = ranking(recorded, names) == ranking(simulated, names)
    print(f"ranking by attainment: {'the same' if same else 'differs'}")
    if arguments.output:
        document = {
            "recorded": arguments.recorded.name,
            "simulated": arguments.simulated.name,
            "same_ranking": same,
            "ranking": ranking(recorded, names),
            "ranking_simulated": ranking(simulated, names),
            "policies": errors,
        }
        arguments.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
