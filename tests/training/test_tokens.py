import json
import sys
from pathlib import Path

import numpy as np
import pytest

from predictor.errors import ModelError
from training.tokens import CachedCounter, TokenizerCounter, cache_folder


@pytest.fixture
def model(tmp_path) -> Path:
    tokenizers = pytest.importorskip("tokenizers")
    words = {"[UNK]": 0, "a": 1, "b": 2}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.enable_truncation(3)
    made.enable_padding(length=3)
    folder = tmp_path / "model"
    folder.mkdir()
    made.save(str(folder / "tokenizer.json"))
    return folder


def test_counts_without_truncation_or_padding(model):
    counter = TokenizerCounter(model)
    assert counter.count(["", "a", "a b a b a b", "\ud800"]).tolist() == [0, 1, 6, 1]
    assert counter.count([]).shape == (0,)
    assert counter.count(["a"] * 1100).sum() == 1100


def test_texts_are_cut_after_so_many_tokens(model):
    counter = TokenizerCounter(model)
    texts = ["a b a b a", "", "a b", "猫 b \ud800 a"]
    five, none, two, odd = counter.cut(texts, (1, 2, 4))
    assert five == (5, {1: "a", 2: "a b", 4: "a b a b"})
    assert none == (0, {})
    assert two == (2, {1: "a"})
    assert odd == (4, {1: "猫", 2: "猫 b"})


def test_the_fingerprint_is_of_the_tokenizer(model):
    before = TokenizerCounter(model).fingerprint
    file = model / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text())))
    assert TokenizerCounter(model).fingerprint != before


def test_no_tokenizer(tmp_path):
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        TokenizerCounter(tmp_path)


def test_a_missing_package_names_the_remedy(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ModelError, match="pip install tokenizers"):
        TokenizerCounter(model)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff"])
def test_a_damaged_tokenizer(model, content):
    (model / "tokenizer.json").write_bytes(content)
    with pytest.raises(ModelError, match="damaged"):
        TokenizerCounter(model)


def test_counts_are_remembered(counter, tmp_path):
    cached = CachedCounter(counter, tmp_path)
    texts = ["one two", "three", "\ud800"]
    for _ in range(2):
        assert cached.count(texts).tolist() == [2, 1, 1]
    assert counter.calls == 1
    cached.count(["one", "two three"])
    assert counter.calls == 2


@pytest.mark.parametrize("content", [b"", b"garbage", None])
def test_a_damaged_entry_is_counted_anew(counter, tmp_path, content):
    cached = CachedCounter(counter, tmp_path)
    cached.count(["one two"])
    (entry,) = tmp_path.iterdir()
    if content is None:
        np.save(entry, np.zeros(5))
    else:
        entry.write_bytes(content)
    assert cached.count(["one two"]).tolist() == [2]
    assert counter.calls == 2
    assert [file.suffix for file in tmp_path.iterdir()] == [".npy"]


def test_a_cache_that_cannot_be_written_is_no_fault(counter, tmp_path):
    (tmp_path / "file").write_text("")
    assert CachedCounter(counter, tmp_path / "file").count(["one two"]).tolist() == [2]


def test_the_cache_is_where_xdg_says(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "slotwise"
