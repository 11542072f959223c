"""The figures of a result document as text in rows and columns, for terminal and page alike."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving.report.document import Document, class_names, policies

BASELINE = "fcfs"
"""The policy that the others are compared with, when it is there."""

NOTHING = "-"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of texts; ``best`` are the rows to stress. A header may hold a line break."""

    header: str
    cells: tuple[str, ...]
    best: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of texts: ``labels`` say what a row is, ``section_ends`` are rows a rule follows."""

    title: str
    labels: tuple[Column, ...]
    columns: tuple[Column, ...]
    section_ends: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Figure:
    """How one figure is found and shown; ``ratio`` formats it as a multiple of the baseline's."""

    header: str
    path: tuple[str, ...]
    show: Callable[[float], str]
    high_is_good: bool = False
    ratio: str | None = None
    always: bool = True

    def read(self, figures: Mapping[str, Any]) -> float | None:
        """Return the figure, ``None`` where the document has none."""
        value: Any = figures
        for key in self.path:
            value = value.get(key) if isinstance(value, Mapping) else None
        return None if value is None else float(value)


def policy_grid(document: Document) -> Grid:
    """Return one row per policy."""
    runs = policies(document)
    base = runs.get(BASELINE)
    columns = [
        _column(figure, list(runs.values()), base=base, base_row=_index(runs, BASELINE))
        for figure in _policy_figures(class_names(document))
        if figure.always or any(figure.read(run) for run in runs.values())
    ]
    return Grid("All requests", (Column("policy", tuple(runs)),), tuple(columns))


def class_grid(document: Document) -> Grid:
    """Return one row per class and policy, classes together; the best of each class is marked."""
    runs = policies(document)
    sections = [
        [
            (name, policy, run["classes"][name])
            for policy, run in runs.items()
            if name in run.get("classes", {})
        ]
        for name in class_names(document)
    ]
    rows = [row for section in sections for row in section]
    labels = (
        Column("class", tuple(row[0] for row in rows)),
        Column("policy", tuple(row[1] for row in rows)),
    )
    parts = [
        [_column(figure, [row[2] for row in section]) for figure in _CLASS_FIGURES]
        for section in sections
    ]
    columns = tuple(_stack(part) for part in zip(*parts, strict=True))
    ends = [sum(map(len, sections[: i + 1])) - 1 for i in range(len(sections))]
    return Grid("Per class", labels, columns, frozenset(ends[:-1]))


def _column(
    figure: Figure,
    groups: Sequence[Mapping[str, Any]],
    *,
    base: Mapping[str, Any] | None = None,
    base_row: int | None = None,
) -> Column:
    values = [figure.read(group) for group in groups]
    against = figure.read(base) if base is not None and figure.ratio else None
    cells = tuple(
        _cell(figure, value, None if row == base_row else against)
        for row, value in enumerate(values)
    )
    return Column(figure.header, cells, _best(figure, values))


def _cell(figure: Figure, value: float | None, against: float | None) -> str:
    if value is None:
        return NOTHING
    ratio = f" ({value / against:{figure.ratio}}x)" if against and figure.ratio else ""
    return figure.show(value) + ratio


def _best(figure: Figure, values: Sequence[float | None]) -> frozenset[int]:
    """Return the rows that show the best value; none where all show the same."""
    known = [value for value in values if value is not None]
    if len({figure.show(value) for value in known}) < 2:
        return frozenset()
    best = figure.show(max(known) if figure.high_is_good else min(known))
    return frozenset(
        row for row, value in enumerate(values) if value is not None and figure.show(value) == best
    )


def _stack(parts: Iterable[Column]) -> Column:
    """Put columns of one header on top of each other."""
    cells: tuple[str, ...] = ()
    best: set[int] = set()
    header = ""
    for part in parts:
        header = part.header
        best |= {len(cells) + row for row in part.best}
        cells += part.cells
    return Column(header, cells, frozenset(best))


def _index(names: Iterable[str], name: str) -> int | None:
    return next((i for i, other in enumerate(names) if other == name), None)


def _percent(share: float) -> str:
    return f"{share:.1%}".replace("%", " %")


def _fixed(digits: int, scale: float = 1.0) -> Callable[[float], str]:
    return lambda value: f"{value * scale:.{digits}f}"


def _policy_figures(classes: Iterable[str]) -> list[Figure]:
    per_class = [
        Figure(f"{name}\nmet", ("classes", name, "slo_attainment"), _percent, high_is_good=True)
        for name in classes
    ]
    return [_ATTAINMENT, *per_class, *_LATENCIES, *_RATES, *_COSTS, *_FAULTS]


_ATTAINMENT = Figure(
    "SLO met\n(all)", ("slo_attainment",), _percent, high_is_good=True, ratio=".1f"
)
_LATENCIES = (
    Figure("e2e s\nmean", ("mean_e2e_s",), _fixed(2), ratio=".2f"),
    Figure("e2e s\np99", ("p99_e2e_s",), _fixed(2)),
    Figure("TTFT s\nmean", ("mean_ttft_s",), _fixed(2)),
    Figure("TPOT ms\nmean", ("mean_tpot_s",), _fixed(1, 1e3)),
)
_RATES = (
    Figure("output\ntok/s", ("output_tokens_per_s",), _fixed(1), high_is_good=True),
    Figure("goodput\nreq/s", ("goodput_rps",), _fixed(3), high_is_good=True),
)
_COSTS = (
    Figure("queue\nmax", ("max_queue_depth",), _fixed(0)),
    Figure("sched µs\np50", ("scheduler_step_us", "p50"), _fixed(0)),
    Figure("sched µs\np99", ("scheduler_step_us", "p99"), _fixed(0)),
    Figure("predict\nms p50", ("prediction_ms", "p50"), _fixed(2)),
)
_FAULTS = tuple(
    Figure(header, path, _fixed(0), always=False)
    for header, path in (
        ("pre-\nempted", ("preemptions",)),
        ("fall-\nbacks", ("fallbacks",)),
        ("re-\njected", ("statuses", "rejected")),
        ("\nfailed", ("statuses", "failed")),
        ("timed\nout", ("statuses", "timeout")),
    )
)
_CLASS_FIGURES = (
    Figure("re-\nquests", ("requests",), _fixed(0), high_is_good=True),
    Figure("SLO\nmet", ("slo_attainment",), _percent, high_is_good=True),
    *(
        Figure(f"{label}\n{statistic}", (f"{statistic}_{key}",), show)
        for label, key, show in (
            ("e2e s", "e2e_s", _fixed(2)),
            ("TTFT s", "ttft_s", _fixed(2)),
            ("TPOT ms", "tpot_s", _fixed(1, 1e3)),
        )
        for statistic in ("mean", "p50", "p90", "p99")
    ),
    *_RATES,
)
