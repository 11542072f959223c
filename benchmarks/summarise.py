"""Keeps of a result file what is small enough to publish: configuration and figures.

python benchmarks/summarise.py build/bench/result.json benchmarks/results/reference.json
"""

import json
import sys
from pathlib import Path
from typing import Any

_LOCAL = ("dataset_path", "predictor", "slo_config", "output", "port")


def summarise(document: dict[str, Any]) -> dict[str, Any]:
    """Drop the records of single requests, the queue over time and this machine's paths."""
    config = {name: value for name, value in document["config"].items() if name not in _LOCAL}
    return {"config": config, "policies": document["policies"]}


def main() -> None:
    source, target = (Path(argument) for argument in sys.argv[1:3])
    document = summarise(json.loads(source.read_text(encoding="utf-8")))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
