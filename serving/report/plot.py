"""What all plots of the report share: Plotly's plain dictionaries, colours and axes.

The plots are transparent and leave the colours of text and grid to the page's style sheet, which
knows whether the reader's screen is light or dark. Colours are told apart by colour-blind eyes
too, and stand out from white and from near-black; lines differ in their dashes besides.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from serving.report.grid import BASELINE

Trace = dict[str, Any]

_GREY = "#7d8590"
_COLOURS = (
    "#2f7fd0",  # blue
    "#d9730d",  # vermilion
    "#159a78",  # green
    "#b25aa6",  # purple
    "#a98600",  # olive
    "#3fa9dc",  # sky
    "#cf4358",  # red
    "#6d70d8",  # indigo
    "#8c6b48",  # brown
)
_DASHES = ("solid", "dash", "dot", "dashdot")
_TICKS = [digit * 10.0**power for power in range(-4, 6) for digit in (1, 3)]


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot with the heading above it and a note below; ``data`` and ``layout`` for Plotly."""

    title: str
    data: tuple[Trace, ...]
    layout: dict[str, Any]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Pen:
    """How a policy is drawn in every plot; ``dash`` is one of Plotly's names."""

    colour: str
    dash: str

    def line(self, width: float = 2.0) -> dict[str, Any]:
        """Return Plotly's ``line``, ``width`` in pixels."""
        return {"color": self.colour, "dash": self.dash, "width": width}


def pens(names: Iterable[str]) -> dict[str, Pen]:
    """Give every policy its pen: grey for the baseline, colours in order for the others."""
    found: dict[str, Pen] = {}
    for name in names:
        if name == BASELINE:
            found[name] = Pen(_GREY, "solid")
            continue
        turn = len(found) - (BASELINE in found)
        found[name] = Pen(_COLOURS[turn % len(_COLOURS)], _DASHES[turn % len(_DASHES)])
    return found


def layout(*, height: int = 300, **more: Any) -> dict[str, Any]:
    """Return a layout of ``height`` pixels without a legend: the page has one for all plots."""
    clear = "rgba(0,0,0,0)"
    return {
        "height": height,
        "margin": {"l": 52, "r": 14, "t": 14, "b": 44},
        "paper_bgcolor": clear,
        "plot_bgcolor": clear,
        "font": {"family": "system-ui, sans-serif", "size": 12},
        "showlegend": False,
        "hoverlabel": {"namelength": -1},
        **more,
    }


def axis(title: str, **more: Any) -> dict[str, Any]:
    """Return an axis with a title."""
    return {
        "title": {"text": title, "standoff": 8},
        "zeroline": False,
        "automargin": True,
        "ticklabelstandoff": 5,
        **more,
    }


def log_axis(title: str, values: Iterable[float | None]) -> dict[str, Any]:
    """Return a logarithmic axis around all positive ``values``, labelled in plain numbers."""
    low, high = _bounds([value for value in values if value is not None and value > 0])
    ticks = [tick for tick in _TICKS if low <= tick <= high]
    return axis(
        title,
        type="log",
        range=[math.log10(low), math.log10(high)],
        tickvals=ticks,
        ticktext=[f"{tick:g}" for tick in ticks],
    )


def label(text: str) -> str:
    """Escape a text for Plotly, which reads a few HTML tags in its labels."""
    return escape(text, quote=False)


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    """Return a range a little wider than the values, no narrower than a factor of ten."""
    if not values:
        return 0.1, 100.0
    low, high = min(values) / 1.2, max(values) * 1.2
    widen = max(1.0, math.sqrt(10 * low / high))
    return low / widen, high * widen
