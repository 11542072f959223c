import numpy as np
import pytest

from predictor.distribution import LengthDistribution
from predictor.errors import DatasetError
from training.drift import drift, one_each, stratified
from training.lengths import read_lengths

FORECAST = LengthDistribution(np.array([0, 100]), np.ones(1))


def test_answers_as_forecast_are_no_drift():
    lengths = np.random.default_rng(0).integers(1, 101, 600)
    found = drift([FORECAST] * 600, lengths, usual_crps=17.0)
    assert not found.drifted
    assert found.ks < 0.06


def test_longer_answers_are_drift():
    lengths = np.random.default_rng(0).integers(1, 201, 600)
    found = drift([FORECAST] * 600, lengths, usual_crps=17.0)
    assert len(found.reasons) == 3


def test_a_score_that_is_no_number_is_drift(monkeypatch):
    lengths = np.random.default_rng(0).integers(1, 101, 600)
    assert not drift([FORECAST] * 600, lengths, usual_crps=float("nan")).drifted
    monkeypatch.setattr(LengthDistribution, "crps", lambda self, came: np.full(len(came), np.nan))
    assert "CRPS is nan" in drift([FORECAST] * 600, lengths).reasons[0]


def test_only_the_window_counts():
    forecasts = [FORECAST] * 4000
    lengths = np.concatenate((np.full(2000, 999), np.random.default_rng(0).integers(1, 101, 2000)))
    assert not drift(forecasts, lengths).drifted


def test_too_few_to_tell():
    with pytest.raises(DatasetError, match="at least 50"):
        drift([FORECAST] * 10, np.ones(10))


def test_one_sample_a_row(lengths_folder):
    rows = read_lengths(lengths_folder)
    some, came = one_each(rows)
    assert len(some) == len(came) == len(rows)
    assert all(length in row for length, row in zip(came, rows.samples, strict=True))


def test_a_stratified_sample_holds_every_group(lengths_folder):
    rows = read_lengths(lengths_folder)
    some = stratified(rows, 60)
    counts = np.bincount(some.llm_of)
    assert counts.tolist() == [20, 20, 20]
