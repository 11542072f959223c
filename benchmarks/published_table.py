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
_PUBLISHED_WAVE = {"sarathi-edf": "58 %", "qoserve": "51 %", "slidingserve": "28 %"}

Figures = Mapping[str, Any]


def readme_table(document: Figures) -> str:
    """Requests per second that each policy carries."""
    capacity = document["capacity"]
    lines = _head("policy", capacity)
    for name in _names(capacity):
        rates = (of_workload[name]["capacity_rps"] for of_workload in capacity.values())
        lines.append(f"| `{name}` | {' | '.join(f'{rate:.2f}/s' for rate in rates)} |")
    return "\n".join(lines)


def docs_table(document: Figures) -> str:
    """The same with 95 % intervals and step limits, then ratios, then the square wave."""
    capacity = document["capacity"]
    lines = _head("", capacity)
    for name in _names(capacity):
        cells = [_capacity(of_workload[name], name) for of_workload in capacity.values()]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    full = (f"{document['limit_rps'][workload]:.2f}" for workload in capacity)
    lines.append(f"| engine full, by mean values | {' | '.join(full)} |")
    for rival in (name for name in _names(capacity) if name != _OURS):
        ratios = (_ratio(of_workload, rival) for of_workload in capacity.values())
        lines.append(f"| `{_OURS}` over `{rival}`, paired | {' | '.join(ratios)} |")
    return "\n".join(lines)


def wave_table(document: Figures) -> str:
    """The share of violations under the square wave, beside what was published."""
    if "square_wave" not in document:
        return "Not measured with these rivals yet."
    lines = ["| | here | published |", "|---|---|---|"]
    for name, figures in document["square_wave"]["violations"].items():
        share = _interval(100 * figures["mean"], figures["interval_95"], 100, 1)
        published = _PUBLISHED_WAVE.get(name, "")
        lines.append(f"| {_named(name, figures)} | {share.replace(' ', ' % ', 1)} | {published} |")
    return "\n".join(lines)


def _head(first: str, capacity: Figures) -> list[str]:
    names = " | ".join(_WORKLOADS[workload] for workload in capacity)
    return [f"| {first} | {names} |", "|---" * (1 + len(capacity)) + "|"]


def _names(capacity: Figures) -> list[str]:
    """Policies in the order of the file, ours last."""
    names = list(next(iter(capacity.values())))
    return sorted(names, key=lambda name: name == _OURS)


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
