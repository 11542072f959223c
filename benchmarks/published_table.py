"""The tables of SlidingServe's experiments, as they stand in README.md and docs/benchmarks.md."""

from collections.abc import Mapping
from typing import Any

_WORKLOADS = {
    "sharegpt": "ShareGPT",
    "arxiv-v1": "arXiv-v1",
    "arxiv-v2": "arXiv-v2",
    "mixed-v1": "mixed-v1",
    "mixed-v2": "mixed-v2",
}
_OURS = "slotwise"
_NAMES = ("sarathi-edf", "qoserve", "slidingserve", _OURS)
NOT_YET = "Not measured with these rivals yet."
_PUBLISHED_WAVE = {"sarathi-edf": "58 %", "qoserve": "51 %", "slidingserve": "28 %"}

Figures = Mapping[str, Any]


def readme_table(document: Figures) -> str:
    """Requests per second that each policy carries."""
    if not (capacity := _measured(document)):
        return NOT_YET
    lines = _head("policy", capacity)
    for name in _NAMES:
        rates = (of_workload[name]["capacity_rps"] for of_workload in capacity.values())
        lines.append(f"| `{name}` | {' | '.join(f'{rate:.2f}/s' for rate in rates)} |")
    return "\n".join(lines)


def docs_table(document: Figures) -> str:
    """The same with 95 % intervals and step limits, then ratios, then the square wave."""
    if not (capacity := _measured(document)):
        return NOT_YET
    lines = _head("", capacity)
    for name in _NAMES:
        cells = [_capacity(of_workload[name], name) for of_workload in capacity.values()]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    full = (f"{document['limit_rps'][workload]:.2f}" for workload in capacity)
    lines.append(f"| engine full, by mean values | {' | '.join(full)} |")
    for rival in (name for name in _NAMES if name != _OURS):
        ratios = (_ratio(of_workload, rival) for of_workload in capacity.values())
        lines.append(f"| `{_OURS}` over `{rival}`, paired | {' | '.join(ratios)} |")
    return "\n".join([*lines, "", _caption(document["config"], capacity)])


def _measured(document: Figures) -> Figures:
    """The workloads on which every policy was measured."""
    return {
        workload: by_name
        for workload, by_name in document["capacity"].items()
        if set(_NAMES) <= set(by_name)
    }


def _caption(config: Figures, capacity: Figures) -> str:
    """What was measured, and which code."""
    runs = capacity.values()
    commits = sorted({figures["commit"] for by_name in runs for figures in by_name.values()})
    return (
        f"Requests a second: means of {config['seeds']} seeds of {config['num_requests']} requests "
        f"with 95 % intervals.\nRatios: means over the seeds, lowest to highest. "
        f"Code: {', '.join(commits)}."
    )


def wave_table(document: Figures) -> str:
    """The share of violations under the square wave, beside what was published."""
    if "square_wave" not in document:
        return NOT_YET
    lines = ["| | here | published |", "|---|---|---|"]
    for name, figures in document["square_wave"]["violations"].items():
        share = _interval(100 * figures["mean"], figures["interval_95"], 100, 1)
        published = _PUBLISHED_WAVE.get(name, "")
        lines.append(f"| {_named(name, figures)} | {share.replace(' ', ' % ', 1)} | {published} |")
    return "\n".join(lines)


def _head(first: str, capacity: Figures) -> list[str]:
    names = " | ".join(_WORKLOADS[workload] for workload in capacity)
    return [f"| {first} | {names} |", "|---" * (1 + len(capacity)) + "|"]


def _capacity(figures: Figures, name: str) -> str:
    limit = figures["policy"].removeprefix(name)
    said = _interval(figures["capacity_rps"], figures["interval_95"], 1, 2)
    return f"{said} {limit}".rstrip()


def _named(name: str, figures: Figures) -> str:
    return f"`{figures.get('policy', name)}`"


def _ratio(of_workload: Figures, rival: str) -> str:
    """Ours over the rival's capacity, seed by seed: the mean and the range."""
    pairs = zip(of_workload[_OURS]["by_seed"], of_workload[rival]["by_seed"], strict=True)
    ratios = [ours / theirs for ours, theirs in pairs if theirs]
    if not ratios:
        return "-"
    mean = sum(ratios) / len(ratios)
    return f"{mean:.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def _interval(value: float, bounds: list[float], scale: float, digits: int) -> str:
    low, high = (max(scale * bound, 0.0) for bound in bounds)
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
