import hashlib
import json
import shutil

import pytest

from predictor import artifact
from predictor.boosted import BoostedPredictor
from predictor.errors import ArtifactError
from predictor.history import HistoryPredictor
from predictor.prompt import Prompt


@pytest.fixture
def history() -> HistoryPredictor:
    return HistoryPredictor.fit([Prompt("a", task="code"), Prompt("b")], [10, 20])


@pytest.fixture
def stored(history, tmp_path):
    history.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def rewritten(folder, **changes) -> None:
    index = json.loads((folder / "artifact.json").read_text())
    (folder / "artifact.json").write_text(json.dumps(index | changes))


def test_history_comes_back(history, stored):
    loaded = HistoryPredictor.from_pretrained(stored)
    assert loaded.prior.equal(history.prior)
    assert loaded.tasks.keys() == history.tasks.keys()
    assert artifact.load(stored).kind == "history"


def test_boosted_comes_back(boosted, fresh_examples, tmp_path):
    calibrated = boosted.calibrated(*fresh_examples)
    calibrated.save_pretrained(tmp_path / "model")
    loaded = BoostedPredictor.from_pretrained(tmp_path / "model")
    prompts = fresh_examples[0][:20]
    pairs = zip(calibrated.predict(prompts), loaded.predict(prompts), strict=True)
    assert all(ours.equal(theirs) for ours, theirs in pairs)


def test_no_pickle_is_stored(boosted, tmp_path):
    boosted.save_pretrained(tmp_path / "model")
    endings = {file.suffix for file in (tmp_path / "model").iterdir()}
    assert endings == {".json", ".npy", ".txt"}


def test_saving_again_replaces_and_leaves_nothing_behind(stored):
    other = HistoryPredictor.fit([Prompt("a")], [99])
    artifact.save(other, stored, extra={"metrics.json": b"{}"})
    assert HistoryPredictor.from_pretrained(stored).prior.equal(other.prior)
    assert [path.name for path in stored.parent.iterdir()] == ["model"]


def test_a_failed_save_leaves_the_old_one(history, stored, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(ArtifactError, match="No space left"):
        history.save_pretrained(stored)
    monkeypatch.undo()
    assert HistoryPredictor.from_pretrained(stored).prior.equal(history.prior)


def test_a_folder_of_other_things_is_not_replaced(history, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ArtifactError, match="empty or new folder"):
        history.save_pretrained(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_missing(tmp_path):
    with pytest.raises(ArtifactError, match="slotwise train"):
        artifact.load(tmp_path / "nothing")


def test_a_file_is_no_folder(tmp_path, history):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError):
        artifact.load(tmp_path / "file")
    with pytest.raises(ArtifactError):
        history.save_pretrained(tmp_path / "file")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"format": 1}'])
def test_a_damaged_index(stored, content):
    (stored / "artifact.json").write_bytes(content)
    with pytest.raises(ArtifactError):
        artifact.load(stored)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 99},
        {"kind": "oracle"},
        {"kind": ["history"]},
        {"sha256": []},
        {"sha256": {}},
        {"sha256": {"../../x": "0"}},
    ],
)
def test_an_index_of_another_kind(stored, changes):
    rewritten(stored, **changes)
    with pytest.raises(ArtifactError):
        artifact.load(stored)


def test_a_changed_byte_is_noticed(stored):
    file = stored / "history.json"
    file.write_bytes(file.read_bytes().replace(b"1.0", b"1.1", 1))
    with pytest.raises(ArtifactError, match="SHA-256"):
        artifact.load(stored)


def test_a_missing_file_is_noticed(stored):
    (stored / "history.json").unlink()
    with pytest.raises(ArtifactError, match=r"history\.json"):
        artifact.load(stored)


@pytest.mark.parametrize("content", [b"{}", b"[]", b'{"tasks": {}, "prior": [1]}', b"x"])
def test_content_is_checked_even_with_the_right_checksum(stored, content):
    (stored / "history.json").write_bytes(content)
    rewritten(stored, sha256={"history.json": hashlib.sha256(content).hexdigest()})
    with pytest.raises(ArtifactError, match="anew"):
        artifact.load(stored)


@pytest.mark.parametrize("name", ["boosted.json", "text_scores.npy", "quantile_50.txt"])
def test_damaged_boosted_content(boosted, name):
    files = boosted.to_files()
    with pytest.raises(ArtifactError):
        BoostedPredictor.from_files({**files, name: b"garbage"})
    with pytest.raises(ArtifactError):
        BoostedPredictor.from_files({k: v for k, v in files.items() if k != name})


def test_the_wrong_kind_is_named(stored):
    with pytest.raises(ArtifactError, match="holds a history predictor"):
        BoostedPredictor.from_pretrained(stored)


def test_a_moved_folder_still_loads(stored, tmp_path):
    shutil.move(stored, tmp_path / "elsewhere")
    assert artifact.load(tmp_path / "elsewhere").kind == "history"
