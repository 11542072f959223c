"""The timeline of the report: one bar per request, from its arrival to its last token."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from serving.bench.records import RequestRecord
from serving.report.document import Document, records
from serving.report.plot import Plot, Trace, axis, label, layout

MAX_BARS = 400
"""Requests shown per policy; of more, evenly many are left out."""

Outcome = Literal["met", "missed", "failed", "no target"]

COLOURS: dict[Outcome, str] = {
    "met": "#1b7fc4",
    "missed": "#e08a00",
    "failed": "#c2307f",
    "no target": "#7d8590",
}
"""One colour per outcome, told apart by colour-blind eyes too."""

_TOP = 26
_GAP = 30
_BOTTOM = 46


def timeline(document: Document) -> Plot:
    """Return one panel per policy over a common time axis, the earliest request on top."""
    groups = records(document)
    shown = {name: _thinned(group) for name, group in groups.items()}
    heights = [min(340, max(90, round(2.2 * len(group)))) for group in shown.values()]
    total = sum(heights) + _GAP * max(0, len(heights) - 1)
    figure = layout(
        height=total + _TOP + _BOTTOM,
        margin={"l": 34, "r": 14, "t": _TOP, "b": _BOTTOM},
        barmode="overlay",
        bargap=0.12,
        hovermode="closest",
        annotations=[],
        xaxis=axis("seconds since the start of the replay", range=[0, _end(shown)]),
    )
    data: list[Trace] = []
    top = total
    for place, (name, group) in enumerate(shown.items(), start=1):
        low = top - heights[place - 1]
        _add_panel(figure, place, [max(0.0, low / total), top / total], len(group))
        figure["annotations"].append(_heading(name, top / total))
        data += _bars(group, f"y{place}" if place > 1 else "y")
        top = low - _GAP
    figure["xaxis"]["anchor"] = f"y{len(shown)}" if len(shown) > 1 else "y"
    left_out = sum(map(len, groups.values())) - sum(map(len, shown.values()))
    return Plot("Timeline of requests", tuple(data), figure, _note(left_out))


def outcome(record: RequestRecord) -> Outcome:
    """Return how a request ended."""
    if record.status != "ok":
        return "failed"
    if record.met is None:
        return "no target"
    return "met" if record.met else "missed"


def _thinned(group: Sequence[RequestRecord]) -> list[RequestRecord]:
    if len(group) <= MAX_BARS:
        return list(group)
    return [group[i] for i in np.linspace(0, len(group) - 1, MAX_BARS).round().astype(int)]


def _end(groups: dict[str, list[RequestRecord]]) -> float:
    """Return the seconds at which the last request ends, and a little more."""
    ends = [r.arrival_s + (r.e2e_s or 0.0) for group in groups.values() for r in group]
    return 1.01 * max(ends, default=1.0) or 1.0


def _add_panel(figure: dict[str, Any], place: int, domain: list[float], rows: int) -> None:
    figure[f"yaxis{place}" if place > 1 else "yaxis"] = {
        "domain": domain,
        "anchor": "x",
        "range": [rows, -1],
        "showticklabels": False,
        "showgrid": False,
        "zeroline": False,
        "fixedrange": True,
    }


def _heading(name: str, height: float) -> dict[str, Any]:
    return {
        "text": f"<b>{label(name)}</b>",
        "x": 0,
        "y": height,
        "xref": "paper",
        "yref": "paper",
        "xanchor": "left",
        "yanchor": "bottom",
        "showarrow": False,
    }


def _bars(group: Sequence[RequestRecord], yaxis: str) -> list[Trace]:
    traces: list[Trace] = []
    for kind, colour in COLOURS.items():
        rows = [(i, r) for i, r in enumerate(group) if outcome(r) == kind]
        if rows and kind == "failed":
            traces.append(_crosses(rows, colour, yaxis))
        elif rows:
            traces += [_part(rows, colour, yaxis, waiting=part) for part in (True, False)]
    return traces


def _part(
    rows: Sequence[tuple[int, RequestRecord]], colour: str, yaxis: str, *, waiting: bool
) -> Trace:
    """Draw one half of each bar: until the first token, or from there to the last."""
    waits = [r.ttft_s or 0.0 for _, r in rows]
    lasts = [(r.e2e_s or 0.0) - wait for wait, (_, r) in zip(waits, rows, strict=True)]
    starts = [r.arrival_s for _, r in rows]
    return {
        "type": "bar",
        "orientation": "h",
        "yaxis": yaxis,
        "y": [i for i, _ in rows],
        "base": starts if waiting else [a + w for a, w in zip(starts, waits, strict=True)],
        "x": waits if waiting else lasts,
        "marker": {"color": colour, "opacity": 0.3 if waiting else 1.0, "line": {"width": 0}},
        "customdata": [_hover(r) for _, r in rows],
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def _crosses(rows: Sequence[tuple[int, RequestRecord]], colour: str, yaxis: str) -> Trace:
    return {
        "type": "scatter",
        "mode": "markers",
        "yaxis": yaxis,
        "x": [r.arrival_s for _, r in rows],
        "y": [i for i, _ in rows],
        "marker": {"color": colour, "symbol": "x", "size": 7},
        "customdata": [_hover(r) for _, r in rows],
        "hovertemplate": "%{customdata}<extra></extra>",
        "cliponaxis": False,
    }


def _hover(record: RequestRecord) -> str:
    head = f"{record.request_id} ({record.slo_class}), arrived at {record.arrival_s:.1f} s"
    if record.status != "ok":
        return label(f"{head}: {record.status}")
    times = (
        f"first token after {record.ttft_s or 0.0:.2f} s, done after {record.e2e_s or 0.0:.2f} s"
    )
    return label(f"{head}, {times}, {record.output_tokens} tokens: {outcome(record)}")


def _note(left_out: int) -> str:
    return f"{left_out} requests are left out, evenly spread." if left_out else ""
