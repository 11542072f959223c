"""Files that wrap their records in one object."""

import json

import pytest

from predictor.errors import DatasetError
from predictor.reading import SkippedItemError
from serving.collect.lengths import read_prompts
from training.sharegpt import read_sharegpt
from training.wrapped import unwrapped

TURNS = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]
RECORD = {"id": "a", "conversations": TURNS}


@pytest.fixture
def written(tmp_path):
    def write(content):
        file = tmp_path / "wrapped.json"
        file.write_text(json.dumps(content))
        return file

    return write


@pytest.mark.parametrize(
    "content",
    [
        {"data": [RECORD, {}, RECORD]},
        {"conversations": [TURNS, [], TURNS]},
        {"conversations": [RECORD, None, RECORD]},
        {"version": 2, "features": [{"name": "id"}], "rows": [RECORD, 1, RECORD]},
        [TURNS, [], TURNS],
    ],
)
def test_conversations_in_an_object(written, content):
    found = read_sharegpt(written(content))
    assert [c.first_turn for c in found.conversations] == [("hi", "hello")] * 2
    assert (found.report.read, sum(found.report.skipped.values())) == (3, 1)
    assert found.report.sha256


def test_an_object_that_is_a_record_stays_one(written):
    assert [c.id for c in read_sharegpt(written(RECORD)).conversations] == ["a"]


def test_two_lists_of_records_are_not_guessed_between(written):
    with pytest.raises(DatasetError, match="none of 1 records"):
        read_sharegpt(written({"train": [RECORD], "test": [RECORD]}))


def test_prompts_in_an_object(written):
    file = written({"data": [{"id": "a", "prompt": "x"}, {"prompt": 1}, {"id": "b", "text": "y"}]})
    assert [(p.id, p.text) for p in read_prompts(file)] == [("a", "x"), ("b", "y")]


def test_texts_in_an_object_are_no_prompts(written):
    with pytest.raises(DatasetError, match="names no prompt"):
        read_prompts(written({"id": "a", "stop": ["x"]}))


@pytest.mark.parametrize(
    ("tail", "reason"),
    [
        ('{"prompt": oops}, {"prompt": "b"}], "count": 2}', "not JSON"),
        ('{"prompt": "b"}, {"pro', "cut off by the end of the file"),
    ],
)
def test_a_broken_object_costs_its_broken_record_alone(tmp_path, caplog, tail, reason):
    (tmp_path / "f.json").write_text('{"version": 1, "data": [{"prompt": "a"}, ' + tail)
    assert [prompt.text for prompt in read_prompts(tmp_path / "f.json")] == ["a", "b"]
    assert "1 x the object around the records is broken" in caplog.text
    assert f" x {reason}" in caplog.text


def test_what_follows_an_object_is_kept():
    def parse(record):
        if "t" not in record:
            raise SkippedItemError("no t")

    cut = SkippedItemError("cut")
    wrapped = {"data": [{"t": 1}, {}]}
    assert list(unwrapped(iter([("line 1", wrapped), ("its end", cut)]), parse)) == [
        ("record 1", {"t": 1}), ("record 2", {}), ("its end", cut),
    ]  # fmt: skip
    lines = [("line 1", wrapped), ("line 2", {"t": 2})]
    assert list(unwrapped(iter(lines), parse)) == lines
    assert list(unwrapped(iter([]), parse)) == []
