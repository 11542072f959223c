"""``predictor.load``."""

import pytest

import predictor
from predictor.errors import ArtifactError
from predictor.history import HistoryPredictor


def test_the_packaged_predictor_predicts():
    (short, _) = forecasts = predictor.load("packaged").predict(
        [predictor.Prompt("Say yes."), predictor.Prompt("Write ten pages.", max_tokens=100)]
    )
    assert all(isinstance(each, predictor.LengthDistribution) for each in forecasts)
    assert short.mean > 0
    assert forecasts[1].quantile(1.0) <= 100


@pytest.mark.parametrize("as_given", [str, lambda path: path], ids=["text", "path"])
def test_a_stored_folder_is_loaded(tmp_path, as_given):
    HistoryPredictor.fit([predictor.Prompt("a")], [10]).save_pretrained(tmp_path / "mine")
    assert predictor.load(as_given(tmp_path / "mine")).kind == "history"


def test_a_folder_of_the_name_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    HistoryPredictor.fit([predictor.Prompt("a")], [10]).save_pretrained("packaged")
    assert predictor.load().kind == "history"


@pytest.mark.parametrize("name", ["champion", "./no/such/folder"])
def test_what_is_not_there_names_the_remedy(name):
    with pytest.raises(ArtifactError, match=r"give a folder or 'packaged'.*find_predictor"):
        predictor.load(name)
