import gzip
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.errors import DatasetError
from training.trace import TraceRow, read_trace

HEADER = "t_s,input_tokens,output_tokens\n"
TEXT = HEADER + "4.5,20,4\n5.5,10,3\n9,30,5\n"
EXPECTED = [TraceRow(0.0, 20, 4), TraceRow(1.0, 10, 3), TraceRow(4.5, 30, 5)]


@pytest.fixture
def trace(tmp_path):
    def read(content, **how):
        file = tmp_path / "t.csv"
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_trace(file, **how)

    return read


@pytest.fixture
def reported(trace):
    def read(content):
        found = []
        return trace(content, on_report=found.append), found[0]

    return read


def test_rows_from_zero(trace):
    assert trace(TEXT) == trace(gzip.compress(TEXT.encode())) == EXPECTED
    assert trace(TEXT.replace("\n", "\r\n")) == trace("\ufeff" + TEXT) == EXPECTED
    assert len(trace(TEXT, limit=2)) == 2


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("7,20,0", "output_tokens is 0: no output"),
        ("7,0,20", "input_tokens is 0: no input"),
        ("7,20,-1", "negative output_tokens"),
        ("-7,20,1", "negative time"),
        ("7,20,", "no output_tokens"),
        (",20,4", "no time"),
        ("7", "no input_tokens"),
        ("nan,20,4", "time is not a number"),
        ("1e308,20,4", "time is out of range"),
        ("7,inf,4", "input_tokens is not a number"),
        ("x,20,4", "time is not a number"),
        ("7,1.5,4", "input_tokens is not a whole number"),
        ("7,1e300,4", "input_tokens is not a whole number"),
        ("2023-11-16 18:17:03,1,1", "times are numbers and dates"),
    ],
)
def test_a_row_that_cannot_be_used_is_left_out_and_counted(reported, caplog, row, reason):
    rows, report = reported(TEXT + row + "\n")
    assert rows == EXPECTED
    assert (report.read, report.usable, report.skipped) == (4, 3, {reason: 1})
    assert f"3 of 4 rows are used; left out: 1 x {reason} (line 5" in caplog.text


def test_whole_numbers_may_be_written_as_floats(trace):
    assert trace(HEADER + "4.5,20.0,4.0\n5.5,1e1,3\n9,30,5.00\n") == EXPECTED


def test_rows_out_of_order_are_sorted_and_counted(reported):
    rows, report = reported(HEADER + "5.5,10,3\n4.5,20,4\n9,30,5\n")
    assert rows == EXPECTED
    assert report.notes == ("1 rows out of order (by up to 1 s) are sorted",)


def test_equal_times_are_in_order(reported):
    rows, report = reported(TEXT + "9,1,1\n")
    assert [row.t_s for row in rows] == [0.0, 1.0, 4.5, 4.5]
    assert not report.notes


AZURE = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
    "2023-11-16 18:17:03.9799600,20,4\r\n"
    "2023-11-16 18:17:04.9799600,10,3\r\n"
    "2023-11-16 18:17:08.4799601,30,5\r\n"
)
MOONCAKE = '{"timestamp": %s, "input_length": %d, "output_length": %d, "hash_ids": [0, 1]}'
FORMS = {
    "azure 2023": AZURE,
    "azure 2024": AZURE.replace(",20", "+00:00,20").replace(",10", "+00:00,10"),
    "dates with T and zones": re.sub(r"(\.\d{7})", r"\1+02:00", AZURE.replace("16 18", "16T20")),
    "burstgpt": (
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
        "45,ChatGPT,20,4,24,Conversation log\n46,GPT-4,10,3,13,API log\n"
        "46.5,GPT-4,10,0,10,API log\n49.5,GPT-4,30,5,35,API log\n"
    ),
    "mooncake": "\n".join(
        MOONCAKE % row for row in ((27000, 20, 4), (28000, 10, 3), (31500, 30, 5))
    ),
    "mooncake's names in seconds": "\n".join(
        MOONCAKE % row for row in ((27, 20, 4), (28, 10, 3), (31.5, 30, 5))
    ),
    "bailian": "\n".join(
        '{"chat_id": 1, "parent_chat_id": -1, ' + (MOONCAKE % row)[1:]
        for row in ((61, 20, 4), (62, 10, 3), (65.5, 30, 5))
    ),
    "a json array": json.dumps(
        [
            {"arrival_ms": t, "prompt_tokens": i, "completion_tokens": o}
            for t, i, o in ((500, 20, 4), (1500, "10", 3), (5000, 30, 5.0))
        ]
    ),
    "a result of vllm bench serve": json.dumps(
        {
            "start_times": [7, 8, 11.5, 12],
            "input_lens": [20, 10, 30, 5],
            "output_lens": [4, 3, 5, 0],
            "errors": ["", "", "", "timeout"],
        }
    ),
    "vidur": "arrived_at,num_prefill_tokens,num_decode_tokens\n1,20,4\n2,10,3\n5.5,30,5\n",
    "splitwise": "request_id,arrival_timestamp,prompt_size,token_size\n"
    "0,1,20,4\n1,2,10,3\n2,5.5,30,5",
    "nanoseconds since 1970": "timestamp,input_length,output_length\n1753780607550000000,20,4\n"
    "1753780608550000000,10,3\n1753780612050000000,30,5\n",
    "unix milliseconds": "timestamp_start_unix_ms;input_tokens;output_tokens\n1000;20;4\n"
    "2000;10;3\n5500;30;5\n",
}


@pytest.mark.parametrize("form", FORMS)
def test_traces_as_others_publish_them(trace, form):
    rows = trace(FORMS[form])
    assert [(row.input_tokens, row.output_tokens) for row in rows] == [(20, 4), (10, 3), (30, 5)]
    assert [row.t_s for row in rows] == pytest.approx([0.0, 1.0, 4.5], abs=2e-6)


def test_dates_keep_their_hundred_nanoseconds(trace):
    assert trace(AZURE)[2].t_s == pytest.approx(4.5000001, abs=1e-9)


def test_what_is_taken_as_milliseconds_is_said(reported):
    assert "timestamp_s" in reported(FORMS["mooncake"])[1].notes[0]
    assert not reported(FORMS["bailian"])[1].notes


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "holds no row"),
        (HEADER, "holds no row"),
        ("t_s,input_tokens\n1,2\n", r"no column output_tokens.* among t_s, input_tokens; give"),
        (HEADER + "1,2,0\n3,4,x\n", r"none of 2 rows .*1 x output_tokens is 0.*line 3: 'x'"),
        (b"\xff\xfe\x00", "columns t_s,input_tokens"),
        (b"PAR1...", "Parquet"),
        ("1.5,20,3\n2.5,10,4\n", "no column t_s, input_tokens, output_tokens"),
    ],
)
def test_where_nothing_is_left_columns_and_forms_are_named(trace, content, says):
    with pytest.raises(DatasetError, match=rf"t\.csv: .*{says}"):
        trace(content)


def test_requests_larger_than_the_memory_are_left_out(trace, caplog):
    # The last token is put out, never cached.
    assert trace(TEXT, most_tokens=23) == EXPECTED[:2]
    assert "1 x needs more KV memory than the engine's 23 tokens (line 4: 34)" in caplog.text


def test_a_missing_file(tmp_path):
    with pytest.raises(DatasetError, match=r"columns t_s,input_tokens"):
        read_trace(tmp_path / "none.csv")


@pytest.mark.parametrize("wrap", ["data", "requests", "rows"])
def test_rows_in_an_object(trace, wrap):
    rows = [{"t_s": row.t_s, "input_tokens": row.input_tokens, "output_tokens": row.output_tokens}
            for row in EXPECTED]  # fmt: skip
    assert trace(json.dumps({"version": 1, "tags": ["a"], wrap: rows})) == EXPECTED


def test_neighbouring_dates_of_other_minutes_zones_and_seconds(trace, caplog):
    dates = ("10:59:59.5Z", "11:00:00.25", "13:00:01+02:00", "11:00:60", "11:00:02.000000001")
    rows = trace("time,isl,osl\n" + "".join(f"2024-05-10 {date},1,1\n" for date in dates))
    assert [row.t_s for row in rows] == pytest.approx([0.0, 0.75, 1.5, 2.500000001], abs=1e-10)
    assert "1 x time is not a date (line 5" in caplog.text


FIELDS = st.sampled_from(
    ["", "0", "1", "1.5", "-2", "nan", "1e400", "x", '"', "2023-99-99 25:61:00", "9" * 400, "\x00"]
)


@given(st.lists(st.tuples(FIELDS, FIELDS, FIELDS), max_size=5), st.sampled_from("\n\r"))
def test_odd_rows_leave_the_good_ones(tmp_path_factory, rows, end):
    file = tmp_path_factory.mktemp("fuzz") / "t.csv"
    lines = [HEADER.strip(), "3,5,7", *(",".join(row) for row in rows)]
    file.write_text(end.join(lines))
    assert (5, 7) in [(row.input_tokens, row.output_tokens) for row in read_trace(file)]
