"""The plots of the report but for the timeline: attainment, latencies, queue, lengths."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serving.bench.records import RequestRecord
from serving.report.document import Document, class_names, policies, records, target_ms
from serving.report.plot import Pen, Plot, Trace, axis, label, layout, log_axis, pens

_METRICS = {"e2e": "end-to-end latency", "ttft": "time to first token", "tpot": "time per token"}
_TARGET = {"color": "#8a8f98", "dash": "dot", "width": 1.5}
_FEW_BARS = 16


def attainment(document: Document) -> Plot:
    """Return grouped bars: the share of requests that met their SLO, per class and policy."""
    runs = policies(document)
    names = class_names(document)
    groups = ["all", *map(label, names)]
    few = len(groups) * len(runs) <= _FEW_BARS
    data = tuple(
        _attainment_bars(name, pen, groups, _attained(runs[name], names), few=few)
        for name, pen in pens(runs).items()
    )
    return Plot(
        "SLO attainment per class",
        data,
        layout(
            height=320,
            barmode="group",
            bargap=0.22,
            bargroupgap=0.06,
            xaxis=axis("", type="category"),
            yaxis=axis("requests that met their SLO, %", range=[0, 108], dtick=25),
        ),
    )


def latency_cdfs(document: Document, slo_class: str) -> list[Plot]:
    """Return one plot per latency of a class: the share of its requests that took at most x.

    TPOT is left out where the class has no target for it.
    """
    return [
        _latency_cdf(document, slo_class, metric)
        for metric in _METRICS
        if metric != "tpot" or target_ms(document, slo_class, "tpot_ms") is not None
    ]


def queue_depths(document: Document) -> list[Plot]:
    """Return the waiting and the running requests over time; none without step logs."""
    rows = document.get("queue", {})
    if not any(rows.values()):
        return []
    return [
        Plot(
            title,
            tuple(
                _line(name, pen, [row[0] for row in rows.get(name, [])], _at(rows, name, place))
                for name, pen in pens(policies(document)).items()
            ),
            layout(
                xaxis=axis("seconds since the first step"),
                yaxis=axis("requests", rangemode="tozero"),
            ),
        )
        for place, title in ((1, "Waiting requests"), (2, "Running requests"))
    ]


def lengths(document: Document) -> list[Plot]:
    """Return predicted against actual output lengths, one plot per policy that predicted."""
    colours = pens(policies(document))
    groups = {
        name: [r for r in group if r.status == "ok" and r.predicted_mean_tokens is not None]
        for name, group in records(document).items()
    }
    return [_lengths(name, group, colours[name]) for name, group in groups.items() if group]


def _attained(run: Mapping[str, Any], classes: Sequence[str]) -> list[float | None]:
    figures = [run, *(run.get("classes", {}).get(name, {}) for name in classes)]
    shares = [figure.get("slo_attainment") for figure in figures]
    return [None if share is None else 100 * share for share in shares]


def _attainment_bars(
    name: str, pen: Pen, groups: Sequence[str], shares: Sequence[float | None], *, few: bool
) -> Trace:
    return {
        "type": "bar",
        "name": label(name),
        "meta": name,
        "x": list(groups),
        "y": list(shares),
        "marker": {"color": pen.colour},
        "text": ["" if share is None else f"{share:.{int(few)}f}" for share in shares],
        "textposition": "outside",
        "textangle": 0,
        "constraintext": "none",
        "textfont": {"size": 12 if few else 9},
        "cliponaxis": False,
        "hovertemplate": "%{x}: %{text} %<extra>%{fullData.name}</extra>",
    }


def _latency_cdf(document: Document, slo_class: str, metric: str) -> Plot:
    unit, scale = ("ms", 1e3) if metric == "tpot" else ("s", 1.0)
    target = target_ms(document, slo_class, f"{metric}_ms")
    target = None if target is None else target * scale / 1e3
    groups = records(document)
    data, seen = [], [target]
    for name, pen in pens(policies(document)).items():
        group = [r for r in groups.get(name, []) if r.slo_class == slo_class]
        times = _times(group, metric, scale)
        seen += times
        data.append(_cdf_line(name, pen, times, len(group), unit))
    if target is not None:
        data.append(_target_line(target, unit))
    promise = "" if target is None else f" (target {target:g} {unit})"
    return Plot(
        f"{slo_class}: {_METRICS[metric]}{promise}",
        tuple(data),
        layout(
            xaxis=log_axis(f"{metric.upper() if metric != 'e2e' else 'e2e'}, {unit}", seen),
            yaxis=axis("requests, %", range=[0, 102], dtick=25),
        ),
    )


def _times(group: Sequence[RequestRecord], metric: str, scale: float) -> list[float]:
    times = [getattr(r, f"{metric}_s") for r in group if r.status == "ok"]
    return sorted(time * scale for time in times if time is not None)


def _cdf_line(name: str, pen: Pen, times: Sequence[float], total: int, unit: str) -> Trace:
    """Draw a distribution out of ``total`` requests; those never answered keep it below 100 %."""
    shares = [100 * (rank + 1) / total for rank in range(len(times))]
    return {
        **_line(name, pen, [*times[:1], *times], [0.0, *shares] if times else []),
        "hovertemplate": f"%{{y:.1f}} % within %{{x:.3g}} {unit}<extra>%{{fullData.name}}</extra>",
    }


def _target_line(target: float, unit: str) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [target, target],
        "y": [0, 102],
        "line": _TARGET,
        "hovertemplate": f"target {target:g} {unit}<extra></extra>",
    }


def _line(name: str, pen: Pen, xs: Sequence[float], ys: Sequence[float]) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": label(name),
        "meta": name,
        "x": list(xs),
        "y": list(ys),
        "line": {**pen.line(), "shape": "hv"},
    }


def _at(rows: Mapping[str, Sequence[Sequence[float]]], name: str, place: int) -> list[float]:
    return [row[place] for row in rows.get(name, [])]


def _lengths(name: str, group: Sequence[RequestRecord], pen: Pen) -> Plot:
    actual = np.array([r.output_tokens for r in group], dtype=np.float64)
    predicted = np.array([r.predicted_mean_tokens for r in group], dtype=np.float64)
    both = [*actual, *predicted]
    ends = [min(both), max(both)]
    return Plot(
        name,
        (
            {"type": "scatter", "mode": "lines", "x": ends, "y": ends, "line": _TARGET}
            | {"hoverinfo": "skip"},
            {
                "type": "scatter",
                "mode": "markers",
                "x": actual.tolist(),
                "y": predicted.tolist(),
                "text": [label(f"{r.request_id} ({r.slo_class})") for r in group],
                "marker": {"color": pen.colour, "size": 6, "opacity": 0.6},
                "hovertemplate": "%{text}<br>%{y:.0f} predicted, %{x} came<extra></extra>",
            },
        ),
        layout(
            xaxis=log_axis("actual output tokens", both),
            yaxis=log_axis("predicted mean", both),
        ),
        _accuracy(group, float(np.abs(actual - predicted).mean())),
    )


def _accuracy(group: Sequence[RequestRecord], error_tokens: float) -> str:
    bounds = [(r.output_tokens, r.predicted_p90_tokens) for r in group]
    kept = [actual <= bound for actual, bound in bounds if bound is not None]
    text = f"Mean absolute error {error_tokens:.0f} tokens over {len(group)} requests"
    return f"{text}; {np.mean(kept):.0%} within their predicted p90." if kept else f"{text}."
