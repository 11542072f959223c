"""Keeps of result files what is small enough to publish: configuration and figures.

python benchmarks/summarise.py build/bench/result.json [MORE ...] benchmarks/results/reference.json

Several result files are one run each of the same policies, with other seeds: figures become means
with 95 % intervals, over the policies that all of them have. ``by_seed`` of a policy keeps what
each run measured.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serving.report.seeds import combined

_LOCAL = ("dataset_path", "predictor", "slo_config", "output", "port")


def summarise(documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Drop the records of single requests, the queue over time and this machine's paths.

    Raises ``ValueError`` if two runs have one seed.
    """
    first = documents[0]
    config = {name: value for name, value in first["config"].items() if name not in _LOCAL}
    seeds = [document["config"].get("seed") for document in documents]
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds {seeds}: give one run of each")
    names = [
        name for name in first["policies"] if all(name in d["policies"] for d in documents[1:])
    ]
    return {
        "config": {**config, "policies": names, "seeds": seeds},
        "policies": {name: _combined(name, documents, seeds) for name in names},
    }


def _combined(
    name: str, documents: Sequence[dict[str, Any]], seeds: Sequence[Any]
) -> dict[str, Any]:
    runs = [document["policies"][name] for document in documents]
    if len(runs) == 1:
        return dict(runs[0])
    return {**combined(runs), "by_seed": dict(zip(map(str, seeds), runs, strict=True))}


def main() -> None:
    *sources, target = (Path(argument) for argument in sys.argv[1:])
    documents = [json.loads(source.read_text(encoding="utf-8")) for source in sources]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(summarise(documents), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
