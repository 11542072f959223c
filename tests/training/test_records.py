"""Files of records, whichever way they hold them, and what is broken in them."""

import csv
import gzip
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.errors import DatasetError
from predictor.reading import SkippedItemError
from training import records
from training.records import JsonRecords, read_records

ROWS = [{"id": number, "text": f"ü{number}"} for number in range(4)]


@pytest.fixture
def written(tmp_path):
    def write(content, name="records"):
        file = tmp_path / name
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    return write


def values(file):
    return [
        str(value) if isinstance(value, SkippedItemError) else value
        for _, value in read_records(file)
    ]


def lines(rows):
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)


@pytest.mark.parametrize("text", [json.dumps(ROWS), json.dumps(ROWS, indent=2), lines(ROWS)])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_every_packing(written, text, encoding, pack):
    assert values(written(pack(text.encode(encoding)))) == ROWS


def test_a_broken_line_costs_that_line_alone(written):
    text = lines(ROWS).replace('{"id": 1,', '{"id": 1 oops,')
    first, broken, *rest = values(written(text))
    assert (first, rest) == (ROWS[0], ROWS[2:])
    assert broken.startswith("not JSON")


@pytest.mark.parametrize("first", [0, 1])
def test_each_of_several_broken_lines_is_one(written, first):
    """`slotwise predict` writes one line for each: another count would shift all that follow."""
    broken = ['{"id" 7}', "oops", '{"id": 8, "text": "never ends', "[1, 2"]
    content = "\n".join(filter(None, (lines(ROWS[:first]), *broken, lines(ROWS[first:]))))
    found = values(written(content))
    assert [value for value in found if value in ROWS] == ROWS
    assert len(found) == len(ROWS) + len(broken)


def test_a_broken_record_of_an_array_costs_that_record_alone(written):
    nested = [{"id": n, "turns": [{"from": "a"}, {"from": "b"}]} for n in range(4)]
    text = json.dumps(nested).replace('"id": 1,', '"id": 1 oops,')
    first, broken, *rest = values(written(text))
    assert (first, rest) == (nested[0], nested[2:])
    assert broken.startswith("not JSON")


def test_bare_words_between_records_are_values(written):
    assert values(written(f"{lines(ROWS[:1])}\nnull\n12\n{lines(ROWS[1:])}")) == [
        ROWS[0], None, 12, *ROWS[1:],
    ]  # fmt: skip


def test_bytes_that_are_not_utf8_cost_their_record(written):
    content = lines(ROWS).encode().replace("ü1".encode(), b"\xff1")
    found = values(written(content))
    assert [found[0], *found[2:]] == [ROWS[0], *ROWS[2:]]
    assert found[1].startswith("not UTF-8")


def test_a_cut_end_is_no_broken_record(written):
    stream = JsonRecords(written(json.dumps(ROWS)[:-12]))
    assert [value for _, value in stream] == ROWS[:3]
    assert stream.cut_end


def test_places(written):
    assert [place for place, _ in read_records(written("\n\n" + lines(ROWS)))] == [
        f"line {number}" for number in (3, 4, 5, 6)
    ]
    assert [place for place, _ in read_records(written(json.dumps(ROWS)))] == [
        f"record {number}" for number in (1, 2, 3, 4)
    ]
    assert [place for place, _ in read_records(written("a,b\n1,2\n\n3,4\n"))] == [
        "line 2", "line 4",
    ]  # fmt: skip


@pytest.mark.parametrize("size", [1, 3, 17])
def test_places_do_not_depend_on_chunks(written, monkeypatch, size):
    file = written("\n" + lines(ROWS).replace('{"id": 2,', '{"id": 2 oops,'))
    whole = [(place, str(value)) for place, value in read_records(file)]
    monkeypatch.setattr(records, "_CHUNK_BYTES", size)
    assert [(place, str(value)) for place, value in JsonRecords(file)] == whole


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_tables(written, end, delimiter):
    text = end.join((" a ,b", "1,2", "3,4,5", "6")).replace(",", delimiter)
    assert values(written("\ufeff" + text)) == [
        {"a": "1", "b": "2"}, {"a": "3", "b": "4"}, {"a": "6"},
    ]  # fmt: skip


def test_a_stray_quote_costs_one_row(written):
    text = 'a,b\n1,2\n"3,4\n5,6\n7,8\n'
    assert values(written(text))[2:] == [{"a": "5", "b": "6"}, {"a": "7", "b": "8"}]


def test_quoted_fields_may_hold_lines(written):
    assert values(written('a,b\n"one\ntwo",2\n3,4\n')) == [
        {"a": "one\ntwo", "b": "2"}, {"a": "3", "b": "4"},
    ]  # fmt: skip


FIELDS = st.text(st.sampled_from('ab "\t;é\x00'), max_size=4)


@given(st.lists(st.lists(FIELDS, min_size=2, max_size=4), max_size=5))
def test_rows_are_those_of_the_csv_module(tmp_path_factory, rows):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([["p", "q", "r"], *rows])
    file = tmp_path_factory.mktemp("rows") / "t.csv"
    file.write_text(text.getvalue())
    assert values(file) == [
        dict(zip("pqr", row, strict=False)) for row in rows if ",".join(row).strip()
    ]


@pytest.mark.parametrize("magic", [b"PAR1", b"PK\x03\x04", b"\x28\xb5\x2f\xfd"])
def test_foreign_formats_are_named_with_the_way_out(written, magic):
    with pytest.raises(DatasetError, match="convert it to CSV or JSON lines"):
        list(read_records(written(magic + bytes(50))))


@given(st.binary(max_size=300), st.sampled_from([b"", b"{", b"[", b"a,b\n", b"\x1f\x8b"]))
def test_no_content_ends_in_anything_but_our_error(tmp_path_factory, content, head):
    file = tmp_path_factory.mktemp("fuzz") / "f"
    file.write_bytes(head + content)
    try:
        for place, _ in read_records(file):
            assert isinstance(place, str)
    except DatasetError as error:
        assert str(file) in str(error)  # noqa: PT017 - either outcome is right


JSONS = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(st.lists(JSONS.filter(lambda value: isinstance(value, dict | list)), min_size=1))
def test_any_values_come_back_from_lines(tmp_path_factory, found):
    file = tmp_path_factory.mktemp("json") / "f.jsonl"
    file.write_text("{}\n" + "\n".join(map(json.dumps, found)))
    assert json.dumps([value for _, value in JsonRecords(file)]) == json.dumps([{}, *found])
