"""The reference point's tables, as they stand in README.md and docs/benchmarks.md."""

from collections.abc import Mapping
from typing import Any

_BASELINE = "fcfs"
_WHAT = {
    "fcfs": "stock vLLM, first come first served",
    "priority": "stock vLLM, priority = class",
    "sjf": "shortest predicted answer first",
    "anneal-paper": "published annealing (arXiv 2504.14966)",
    "slotwise": "**Slotwise**, LightGBM forecasts",
    "sjf-oracle": "shortest answer first, told true lengths",
    "slotwise-oracle": "Slotwise, told true lengths",
}
_LATENCIES = ("mean", "p50", "p90", "p99")

Figures = Mapping[str, Any]


def readme_table(document: Figures) -> str:
    """Means over the seeds, a row for each policy, and what becomes of the tails."""
    policies = document["policies"]
    lines = [
        "| policy | SLO attainment | latency: mean | median | p90 | p99 | attainment / FCFS | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, figures in policies.items():
        latencies = " | ".join(f"{figures[f'{each}_e2e_s']:.1f} s" for each in _LATENCIES)
        ratio = figures["slo_attainment"] / policies[_BASELINE]["slo_attainment"]
        attainment = f"{100 * figures['slo_attainment']:.1f} %"
        what = _WHAT.get(name, "")
        lines.append(f"| `{name}` | {attainment} | {latencies} | {ratio:.1f}x | {what} |")
    return "\n".join([*lines, "", _tails(policies)])


def _tails(policies: Figures) -> str:
    """How the 90th and 99th percentile of latency compare, whichever way that is."""
    ours, stock = policies["slotwise"], policies[_BASELINE]
    said = [
        f"the {name} is {ours[key]:.0f} s where FCFS has {stock[key]:.0f} s"
        for name, key in (("90th percentile", "p90_e2e_s"), ("99th", "p99_e2e_s"))
    ]
    worse = all(ours[key] > stock[key] for key in ("p90_e2e_s", "p99_e2e_s"))
    start = "The slowest requests get slower" if worse else "Of the slowest requests"
    return f"{start}: {said[0]}, {said[1]}."


def docs_table(document: Figures) -> str:
    """Means with 95 % intervals, then the values of each seed where the file has them."""
    policies = document["policies"]
    lines = [
        "| policy | SLO attainment | code / chat | latency: mean | median | p90 | p99 |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, figures in policies.items():
        classes = figures["classes"]
        kinds = " / ".join(f"{100 * classes[k]['slo_attainment']:.0f}" for k in ("code", "chat"))
        cells = [_with_interval(figures, f"{each}_e2e_s", "s") for each in _LATENCIES]
        attainment = _with_interval(figures, "slo_attainment", "%", scale=100)
        lines.append(f"| `{name}` | {attainment} | {kinds} % | {' | '.join(cells)} |")
    if any("by_seed" in figures for figures in policies.values()):
        lines += ["", *_by_seed(policies)]
    return "\n".join([*lines, "", _tails(policies)])


def _by_seed(policies: Figures) -> list[str]:
    lines = [
        "| policy, seed | SLO attainment | latency: mean | median | p90 | p99 |",
        "|---|---|---|---|---|---|",
    ]
    for name, figures in policies.items():
        for seed, of_seed in figures.get("by_seed", {}).items():
            cells = [f"{of_seed[f'{each}_e2e_s']:.1f} s" for each in _LATENCIES]
            attainment = f"{100 * of_seed['slo_attainment']:.1f} %"
            lines.append(f"| `{name}`, {seed} | {attainment} | {' | '.join(cells)} |")
    return lines


def _with_interval(figures: Figures, key: str, unit: str, *, scale: float = 1.0) -> str:
    value = f"{scale * figures[key]:.1f} {unit}"
    bounds = figures.get("interval_95", {}).get(key)
    if bounds is None:
        return value
    return f"{value} ({scale * bounds[0]:.0f} to {scale * bounds[1]:.0f})"
