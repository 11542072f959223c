"""Packed files that are cut or damaged: what could be read is used, the rest is counted."""

import gzip
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.errors import DatasetError
from serving.collect.lengths import read_prompts
from training.gunzip import Gunzip
from training.lengths import read_lengths
from training.sharegpt import read_sharegpt
from training.trace import read_trace

ROWS = "t_s,input_tokens,output_tokens\n" + "".join(
    f"{k},{k * 7 % 97 + 1},12345\n" for k in range(99)
)
PACKED = gzip.compress(ROWS.encode(), mtime=0)
TURNS = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]


def unpacked(packed):
    raw = Gunzip(io.BytesIO(packed))
    return io.BufferedReader(raw).read(), raw.damage


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4), st.integers(0, 600))
def test_members_and_padding(parts, zeros):
    packed = b"".join(map(gzip.compress, parts)) + bytes(zeros)
    assert unpacked(packed) == (b"".join(parts), "")


@given(st.integers(0, len(PACKED) - 1))
def test_a_cut_file_gives_its_beginning(size):
    content, damage = unpacked(PACKED[:size])
    assert ROWS.encode().startswith(content)
    assert damage == "the gzip data are cut"


def test_damage_costs_what_follows_it():
    content, damage = unpacked(PACKED[:-8] + bytes(8))
    assert (content, damage) == (ROWS.encode(), "the gzip data are damaged")
    content, damage = unpacked(PACKED + b"oops")
    assert (content, damage) == (ROWS.encode(), "the gzip data are followed by something else")
    half = len(PACKED) // 2
    content, damage = unpacked(PACKED[:half] + b"\xff" * 40 + PACKED[half:])
    assert content[:300] == ROWS.encode()[:300]
    assert damage == "the gzip data are damaged"


def cut(file, text, size=-20):
    file.write_bytes(gzip.compress(text.encode(), mtime=0)[:size])
    return file


def test_a_cut_trace_is_used_as_far_as_it_goes(tmp_path, caplog):
    reports = []
    rows = read_trace(cut(tmp_path / "t.csv.gz", ROWS), on_report=reports.append)
    # The row at which the file is cut has a number that is not its own.
    assert {row.output_tokens for row in rows} == {12345}
    assert 10 < len(rows) < 99
    assert reports[0].skipped == {"cut off by the end of the file": 1}
    assert "(its end: 'the gzip data are cut')" in caplog.text


def test_a_cut_trace_of_json_lines(tmp_path, caplog):
    lines = "".join(f'{{"ts": {k}, "isl": {k * 7 % 97 + 1}, "osl": 5}}\n' for k in range(99))
    assert 10 < len(read_trace(cut(tmp_path / "t.jsonl.gz", lines))) < 99
    assert "1 x cut off by the end of the file" in caplog.text


def test_a_cut_plain_trace_of_json_lines_counts_its_last_row(tmp_path, caplog):
    (tmp_path / "t.jsonl").write_text('{"ts": 1, "isl": 2, "osl": 5}\n{"ts": 2, "is')
    assert len(read_trace(tmp_path / "t.jsonl")) == 1
    assert "1 of 2 rows are used; left out: 1 x cut off by the end of the file" in caplog.text


def test_cut_conversations(tmp_path, caplog):
    records = [{"id": f"{k * k}x", "conversations": TURNS} for k in range(200)]
    report = read_sharegpt(cut(tmp_path / "c.json.gz", json.dumps(records))).report
    assert 10 < report.usable < 200
    assert report.cut_end
    assert "its end is cut" in caplog.text


@pytest.mark.parametrize("name", ["p.txt.gz", "p.jsonl.gz", "p.txt"])
def test_cut_prompts(tmp_path, caplog, name):
    texts = [f"prompt {k * k}" for k in range(200)]
    as_json = "json" in name
    text = "\n".join(json.dumps({"prompt": t}) if as_json else t for t in texts)
    found = [prompt.text for prompt in read_prompts(cut(tmp_path / name, text))]
    assert 10 < len(found) < 200
    assert found == texts[: len(found)]
    assert "1 x cut off by the end of the file" in caplog.text


def test_cut_lengths(tmp_path, caplog):
    prompts = "".join(f'{{"prompt_id": "{k}", "prompt_text": "Hi {k}"}}\n' for k in range(200))
    lengths = "prompt_id,model,output_sizes\n" + "".join(f"{k},m,12345\n" for k in range(200))
    cut(tmp_path / "prompts.jsonl.gz", prompts, None)
    cut(tmp_path / "lengths.csv.gz", lengths)
    rows = read_lengths(tmp_path)
    assert 10 < len(rows) < 200
    assert set(rows.samples[:, 0]) == {12345}
    assert "1 x cut off by the end of the file" in caplog.text


def test_an_open_quote_before_the_cut_costs_one_row(tmp_path):
    text = ROWS.replace("\n20,", '\n"20,')
    assert len(read_trace(cut(tmp_path / "t.csv.gz", text))) > 40


@pytest.mark.parametrize("size", [2, 12, 20])
def test_a_packed_file_of_which_nothing_can_be_read(tmp_path, size):
    with pytest.raises(DatasetError, match=r"t\.csv\.gz: .*(cut|none of 0|holds no)"):
        read_trace(cut(tmp_path / "t.csv.gz", ROWS, size))
