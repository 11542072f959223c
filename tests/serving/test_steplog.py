"""The step log survives an engine that dies in the middle of a line."""

import pytest

from predictor.errors import InputError
from serving.line_log import LineLog
from serving.steplog import StepRecord, encode, read


def record(at_s=1.0, **changes):
    fields = {
        "at_s": at_s,
        "waiting": 3,
        "running": 2,
        "prefills": 1,
        "prefill_tokens": 10,
        "prefill_context_tokens": 0,
        "decodes": 1,
        "context_tokens": 40,
        "preempted": 0,
        "schedule_s": 1e-4,
        "added_s": 1e-5,
        "step_s": 0.05,
    }
    return StepRecord(**{**fields, **changes})


def test_records_come_back(tmp_path):
    file = tmp_path / "steps.jsonl"
    records = [record(1.0), record(2.0, step_s=None)]
    file.write_text(encode(records), encoding="utf-8")
    assert list(read(file)) == records


def test_a_line_cut_short_is_skipped(tmp_path):
    file = tmp_path / "steps.jsonl"
    text = encode([record(1.0), record(2.0)])
    file.write_text(text[:-10], encoding="utf-8")
    assert [r.at_s for r in read(file)] == [1.0]


def test_a_log_of_another_version_is_refused(tmp_path):
    file = tmp_path / "steps.jsonl"
    file.write_text("[1.0, 3, 2]\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"has 3 values, not 17: .* record it again"):
        list(read(file))


@pytest.mark.parametrize(
    "line", ["oops", "{}", "[1, 2]", "[" + ", ".join(["null"] * 17) + "]", "\udcff"]
)
def test_a_line_that_is_no_record_is_left_out_and_counted(tmp_path, caplog, line):
    file = tmp_path / "steps.jsonl"
    first, second = encode([record(1.0)]), encode([record(2.0)])
    content = f"{first}{line}\n{second}"
    file.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert [r.at_s for r in read(file)] == [1.0, 2.0]
    assert "2 of 3 steps are used; left out: 1 x" in caplog.text


def test_no_file_is_no_records(tmp_path):
    assert list(read(tmp_path / "none.jsonl")) == []


def test_the_writer_writes_everything(tmp_path):
    file = tmp_path / "steps.jsonl"
    writer = LineLog(file, encode)
    for number in range(100):
        writer.add(record(float(number)))
    writer.close()
    assert [r.at_s for r in read(file)] == [float(n) for n in range(100)]
