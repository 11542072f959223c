import json
import math
from dataclasses import replace
from typing import Any

import pytest

from serving.bench.records import PolicyRun
from serving.report.document import records
from serving.report.summary import policy_figures, request_figures, step_figures


def test_policy_figures(make: Any) -> None:
    figures = policy_figures(make.run(fallbacks=3))
    expected = {
        "requests": 4,
        "requests_with_target": 3,
        "slo_attainment": 1 / 3,
        "mean_e2e_s": 4.0,
        "p50_e2e_s": 4.0,
        "p90_e2e_s": 5.6,
        "p99_e2e_s": 5.96,
        "mean_ttft_s": 2.0,
        "mean_tpot_s": 0.2,
        "output_tokens_per_s": 3.3,
        "goodput_rps": 0.1,
        "max_queue_depth": 7,
        "mean_queue_depth": 1.0,
        "preemptions": 2,
        "fallbacks": 3,
        "error": None,
    }
    assert {key: figures[key] for key in expected} == pytest.approx(expected)
    assert figures["statuses"] == {"ok": 3, "rejected": 0, "failed": 1, "timeout": 0}
    assert list(figures["classes"]) == ["batch", "code"]
    assert figures["classes"]["code"]["slo_attainment"] == pytest.approx(1 / 3)
    assert figures["classes"]["code"]["mean_e2e_s"] == 3.0


def test_class_without_target_has_no_attainment(make: Any) -> None:
    batch = policy_figures(make.run())["classes"]["batch"]
    assert batch["slo_attainment"] is None
    assert batch["requests"] == 1
    assert batch["goodput_rps"] == 0.0


@pytest.mark.parametrize("status", ["rejected", "failed", "timeout"])
def test_unanswered_requests_are_violations(make: Any, status: Any) -> None:
    figures = request_figures([make.ok("a", 1.0), make.broken("b", status)], duration_s=1.0)
    assert figures["slo_attainment"] == 0.5
    assert figures["statuses"][status] == 1
    assert figures["output_tokens_per_s"] == 11.0


def test_a_failed_request_is_never_met_whatever_its_record_says(make: Any) -> None:
    wrong = replace(make.broken("a", "failed"), met=True)
    assert request_figures([wrong], duration_s=1.0)["slo_attainment"] == 0.0


def test_all_failed_gives_null_not_nan(make: Any) -> None:
    run = make.run(records=(make.broken("a", "failed"), make.broken("b", "timeout")), steps=())
    document = make.document(run)
    figures = json.loads(json.dumps(document, allow_nan=False))["policies"]["fcfs"]
    assert figures["slo_attainment"] == 0.0
    assert figures["output_tokens_per_s"] == 0.0
    for key in ("mean_e2e_s", "p99_ttft_s", "p50_tpot_s", "max_queue_depth", "preemptions"):
        assert figures[key] is None
    assert figures["prediction_ms"] == {"p50": None, "p99": None}
    assert document["queue"] == {"fcfs": []}


def test_empty_run(make: Any) -> None:
    document = make.document(PolicyRun("fcfs", ()))
    figures = json.loads(json.dumps(document, allow_nan=False))["policies"]["fcfs"]
    assert figures["requests"] == 0
    assert figures["slo_attainment"] is None
    assert figures["goodput_rps"] is None
    assert figures["classes"] == {}


def test_single_request_is_its_own_percentile(make: Any) -> None:
    figures = request_figures([make.ok("a", 2.0, prediction_s=0.004)], duration_s=2.0)
    assert {figures[f"{name}_e2e_s"] for name in ("mean", "p50", "p90", "p99")} == {2.0}
    assert figures["prediction_ms"] == {"p50": 4.0, "p99": 4.0}


def test_step_times_in_microseconds_and_at_depth(make: Any) -> None:
    shallow = [make.step(i, 99, schedule_s=2e-4, added_s=1e-4) for i in range(50)]
    deep = [make.step(50 + i, 100, schedule_s=4e-4, added_s=3e-4) for i in range(50)]
    figures = step_figures([*shallow, *deep])
    assert figures["scheduler_step_us"] == pytest.approx({"p50": 300.0, "p99": 400.0})
    assert figures["added_step_us"]["p99_at_depth"] == pytest.approx(300.0)
    assert step_figures(shallow)["added_step_us"]["p99_at_depth"] is None


def test_numbers_that_are_none_never_reach_the_json(make: Any) -> None:
    odd = make.ok("a", 1.0, predicted_mean_tokens=math.nan, prediction_s=math.inf)
    document = make.document(make.run(records=(odd,)))
    json.dumps(document, allow_nan=False)
    assert document["requests"][0]["predicted_mean_tokens"] is None


def test_records_come_back_from_the_document(make: Any) -> None:
    runs = [make.run("fcfs"), make.run("slotwise")]
    document = json.loads(json.dumps(make.document(*runs)))
    document["requests"][0]["key_of_a_later_version"] = 1
    found = records(document)
    assert list(found) == ["fcfs", "slotwise"]
    assert set(found["fcfs"]) == set(runs[0].records)
