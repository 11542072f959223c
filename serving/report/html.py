"""The HTML report: one file that shows a result document without any network."""

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from plotly.offline import get_plotlyjs

from serving.report import charts
from serving.report.document import Document, class_names, policies
from serving.report.files import write_atomically
from serving.report.grid import Column, Grid, class_grid, policy_grid
from serving.report.plot import Pen, Plot, pens
from serving.report.table import notes
from serving.report.timeline import COLOURS, timeline

_DASHES = {"solid": "", "dash": "7 4", "dot": "2 3", "dashdot": "7 3 2 3"}


def write_report(document: Document, path: Path) -> None:
    """Write the report to ``path``, whole or not at all."""
    write_atomically(path, render(document))


def render(document: Document) -> str:
    """Return the report as one HTML page with its script, style and data inside."""
    page = Template(files("serving.report").joinpath("page.html").read_text(encoding="utf-8"))
    return page.substitute(
        title=f"Slotwise: {escape(', '.join(policies(document)) or 'no policies')}",
        config=_config(document.get("config", {})),
        grids=_grid(policy_grid(document)) + _grid(class_grid(document)),
        notes="".join(f"<p>{escape(line)}</p>" for line in notes(document)),
        legend=_legend(pens(policies(document))),
        sections=_sections(document),
        plotly=get_plotlyjs(),
    )


def _sections(document: Document) -> str:
    classes = [charts.latency_cdfs(document, name) for name in class_names(document)]
    return "".join(
        [
            _section("Attainment", [[charts.attainment(document)]]),
            _section(
                "Latencies",
                classes,
                "Share of the requests of a class that took at most so long. A request that was "
                "never answered keeps its line below 100 %.",
            ),
            _section("Queue", [charts.queue_depths(document)]),
            _section("Timeline", [[timeline(document)]], extra=_outcomes()),
            _section(
                "Predicted lengths",
                [charts.lengths(document)],
                "Answers above the dotted line came shorter than predicted.",
            ),
        ]
    )


def _section(title: str, rows: Iterable[Sequence[Plot]], note: str = "", extra: str = "") -> str:
    """Return a section of rows of plots, nothing without plots."""
    parts = "".join(f'<div class="row">{"".join(map(_card, row))}</div>' for row in rows if row)
    if not parts:
        return ""
    said = f"<p>{escape(note)}</p>" if note else ""
    return f"<section><h2>{escape(title)}</h2>{said}{extra}{parts}</section>"


def _card(plot: Plot) -> str:
    note = f"<figcaption>{escape(plot.note)}</figcaption>" if plot.note else ""
    content = _script_json({"data": plot.data, "layout": plot.layout})
    return (
        f"<figure><h3>{escape(plot.title)}</h3>"
        f'<div class="plot" style="height:{plot.layout["height"]}px"></div>'
        f'<script type="application/json">{content}</script>{note}</figure>'
    )


def _script_json(content: object) -> str:
    """Render JSON that cannot end the script element it stands in."""
    return json.dumps(content, allow_nan=False).replace("<", "\\u003c")


def _config(config: Mapping[str, Any]) -> str:
    return "".join(
        f"<div><dt>{escape(str(key))}</dt><dd>{escape(_shown(value))}</dd></div>"
        for key, value in config.items()
    )


def _shown(value: object) -> str:
    """Render a setting: a mapping of mappings as lines, a plain mapping as ``key value`` pairs."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.10g}"
    if not isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False, default=str)
    if any(isinstance(item, Mapping) for item in value.values()):
        return "\n".join(f"{key}: {_shown(item)}" for key, item in value.items())
    return ", ".join(f"{key} {_shown(item)}" for key, item in value.items())


def _grid(grid: Grid) -> str:
    heads = "".join(
        [_grid_head(column, ' class="label"') for column in grid.labels]
        + [_grid_head(column, "") for column in grid.columns]
    )
    rows = "".join(_grid_row(grid, row) for row in range(len(grid.labels[0].cells)))
    return (
        f'<h3>{escape(grid.title)}</h3><div class="scroll"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _grid_head(column: Column, attribute: str) -> str:
    lines = "<br>".join(map(escape, column.header.splitlines()))
    return f'<th scope="col"{attribute}>{lines}</th>'


def _grid_row(grid: Grid, row: int) -> str:
    names = "".join(f'<th scope="row">{escape(c.cells[row])}</th>' for c in grid.labels)
    rule = ' class="end"' if row in grid.section_ends else ""
    return f"<tr{rule}>{names}{''.join(_grid_cell(c, row) for c in grid.columns)}</tr>"


def _grid_cell(column: Column, row: int) -> str:
    best = ' class="best"' if row in column.best else ""
    return f"<td{best}>{escape(column.cells[row])}</td>"


def _legend(found: Mapping[str, Pen]) -> str:
    return "".join(
        f'<button type="button" aria-pressed="true" data-policy="{escape(name)}">'
        f'<svg width="30" height="10" aria-hidden="true"><line x1="1" x2="29" y1="5" y2="5" '
        f'stroke="{pen.colour}" stroke-width="3" stroke-dasharray="{_DASHES[pen.dash]}"/></svg>'
        f"{escape(name)}</button>"
        for name, pen in found.items()
    )


def _outcomes() -> str:
    swatches = "".join(
        f'<span><i style="background:{colour}"></i>{escape(kind)}</span>'
        for kind, colour in COLOURS.items()
    )
    return (
        f'<p class="outcomes">{swatches} Pale until the first token, solid from there to the last; '
        "a cross is the arrival of a request that was rejected, failed or timed out.</p>"
    )
