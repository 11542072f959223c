import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

from predictor.errors import InputError
from serving.report import charts
from serving.report.html import render, write_report
from serving.report.plot import Plot, pens
from serving.report.timeline import MAX_BARS, timeline

SPEC = re.compile(r'<script type="application/json">(.*?)</script>', re.S)


def plots(page: str) -> list[dict[str, Any]]:
    return [json.loads(text) for text in SPEC.findall(page)]


def checked(plot: Plot) -> Plot:
    """Let Plotly's own validation see the plot: it raises on unknown or malformed properties."""
    go.Figure({"data": list(plot.data), "layout": plot.layout})
    return plot


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [str(value) for name, value in attrs if name in {"src", "href"}]


def test_page_stands_alone(make: Any) -> None:
    page = render(make.document(make.run("fcfs"), make.run("slotwise")))
    links = Links()
    links.feed(page)
    assert links.found == []
    assert "default-src 'none'" in page
    assert page.count("plotly.js v") == 1
    assert "prefers-color-scheme: dark" in page
    assert "33.3 %" in page


@pytest.mark.parametrize("count", [0, 1, 3, 10])
def test_any_number_of_policies(make: Any, count: int) -> None:
    runs = [make.run(name) for name in ["fcfs", *(f"p{i}" for i in range(9))][:count]]
    assert plots(render(make.document(*runs)))
    pen = pens([run.policy for run in runs])
    assert len(set(pen.values())) == count


def test_no_successful_request(make: Any) -> None:
    run = make.run(records=(make.broken("a", "failed"), make.broken("b", "timeout")), steps=())
    page = render(make.document(run))
    assert "<h2>Queue</h2>" not in page
    assert "<h2>Predicted lengths</h2>" not in page
    marks = [t for t in timeline(make.document(run)).data if t.get("mode") == "markers"]
    assert marks[0]["x"] == [1.0, 1.0]


def test_all_text_is_escaped(make: Any) -> None:
    evil = "</script><script>alert(1)</script><b>%{x}$title"
    run = make.run(
        evil,
        records=(make.ok(evil, 1.0, slo_class=evil, predicted_mean_tokens=9.0),),
        error=evil,
    )
    document = make.document(run)
    document["config"][evil] = {"a": evil}
    page = render(document)
    assert "<script>alert" not in page
    assert "<b>%{x}" not in page
    labels = json.dumps([p["data"] for p in plots(page)])
    assert "&lt;b&gt;" in labels


def test_attainment_bars(make: Any) -> None:
    bars = checked(charts.attainment(make.document(make.run("fcfs"), make.run("edf")))).data
    assert [bar["name"] for bar in bars] == ["fcfs", "edf"]
    assert bars[0]["x"] == ["all", "batch", "code"]
    assert bars[0]["y"] == pytest.approx([100 / 3, None, 100 / 3])


def test_latency_cdf_and_target(make: Any) -> None:
    document = make.document(make.run("fcfs"))
    e2e, ttft = map(checked, charts.latency_cdfs(document, "code"))
    assert e2e.title == "code: end-to-end latency (target 30 s)"
    assert e2e.data[0]["x"] == [2.0, 2.0, 4.0]
    assert e2e.data[0]["y"] == pytest.approx([0.0, 100 / 3, 200 / 3])  # one of three failed
    assert e2e.data[1]["x"] == [30.0, 30.0]
    assert len(ttft.data) == 1
    chat = make.run(records=(make.ok("a", 1.0, slo_class="chat"),))
    tpot = checked(charts.latency_cdfs(make.document(chat), "chat")[2])
    assert tpot.data[0]["x"] == [50.0, 50.0]
    assert tpot.data[1]["x"] == [100.0, 100.0]


def test_queue_over_time(make: Any) -> None:
    waiting, running = map(checked, charts.queue_depths(make.document(make.run("fcfs"))))
    assert (waiting.data[0]["x"], waiting.data[0]["y"]) == ([0.0, 1.0, 4.0], [4, 0, 7])
    assert running.data[0]["y"] == [1, 1, 1]


def test_lengths(make: Any) -> None:
    group = (
        make.ok("a", 1.0, predicted_mean_tokens=21.0, predicted_p90_tokens=30.0),
        make.ok("b", 1.0, predicted_mean_tokens=11.0, predicted_p90_tokens=10.0),
        make.ok("c", 1.0),
    )
    (plot,) = charts.lengths(make.document(make.run("fcfs", records=group), make.run("edf")))
    points = checked(plot).data[1]
    assert (points["x"], points["y"]) == ([11.0, 11.0], [21.0, 11.0])
    assert (
        plot.note == "Mean absolute error 5 tokens over 2 requests; 50% within their predicted p90."
    )


def test_timeline_bars_run_from_arrival_to_finish(make: Any) -> None:
    late = make.ok("late", 4.0, ttft_s=1.0, arrival_s=10.0, met=False)
    early = make.ok("early", 2.0, arrival_s=1.0, met=False)
    plot = checked(timeline(make.document(make.run("fcfs", records=(late, early)))))
    waiting, running = plot.data
    assert waiting["base"] == [1.0, 10.0]
    assert waiting["x"] == [1.0, 1.0]
    assert running["base"] == [2.0, 11.0]
    assert running["x"] == [1.0, 3.0]
    assert "missed" in running["customdata"][0]


def test_timeline_panels_share_the_time_axis(make: Any) -> None:
    plot = checked(timeline(make.document(*(make.run(name) for name in "abc"))))
    domains = [plot.layout[name]["domain"] for name in ("yaxis", "yaxis2", "yaxis3")]
    assert domains[0][1] == 1.0
    assert domains[2][0] == 0.0
    assert domains[0][0] > domains[1][1] > domains[1][0] > domains[2][1]
    assert plot.layout["xaxis"]["anchor"] == "y3"


def test_timeline_leaves_out_requests_beyond_the_limit(make: Any) -> None:
    many = tuple(make.ok(str(i), 1.0, arrival_s=float(i)) for i in range(MAX_BARS + 50))
    plot = timeline(make.document(make.run(records=many)))
    assert len(plot.data[0]["y"]) == MAX_BARS
    assert plot.data[0]["base"][-1] == MAX_BARS + 49
    assert plot.note.startswith("50 requests are left out")


def test_write_report_is_atomic(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "build" / "report.html"
    write_report(make.document(make.run()), path)
    before = path.read_text(encoding="utf-8")

    def full_disk(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(InputError, match="No space"):
        write_report(make.document(make.run("other")), path)
    assert path.read_text(encoding="utf-8") == before
    assert list(path.parent.iterdir()) == [path]
