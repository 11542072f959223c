import numpy as np
import pytest

from predictor.distribution import LengthDistribution
from predictor.errors import DatasetError
from predictor.history import HistoryPredictor
from predictor.prompt import Prompt
from training.evaluate import evaluate
from training.lengths import read_lengths
from training.remaining import remaining_mae


class Knowing(HistoryPredictor):
    """Knows the samples of every prompt."""

    def __init__(self, rows):
        super().__init__(tasks={}, prior=LengthDistribution.point(1))
        texts = [rows.prompts[p].text for p in rows.prompt_of]
        llms = [rows.llms[m] for m in rows.llm_of]
        self.of = dict(zip(zip(texts, llms, strict=True), rows.samples, strict=True))

    def predict(self, prompts):
        edges = np.arange(2000)
        return [
            LengthDistribution.from_samples(self.of[p.text, p.llm], edges=edges) for p in prompts
        ]


@pytest.fixture(scope="module")
def rows(lengths_folder):
    return read_lengths(lengths_folder)


@pytest.fixture(scope="module")
def found(rows):
    test = rows.of_split("test")
    return evaluate(Knowing(test), test, known=rows.of_split("train"))


def test_the_document_has_all_keys(found):
    document = found.document()
    assert document["llms"].keys() == {"alpha", "beta", "gamma"}
    keys = {"rows", "tau_b", "tau_b_mean", "mae", "mae_mean", "crps", "coverage_90",
            "coverage_80", "width_80"}  # fmt: skip
    for scores in (*document["llms"].values(), document["all"]):
        assert keys <= scores.keys()
        assert keys <= scores["noise_ceiling"].keys()


def test_who_knows_the_samples_is_beyond_the_noise_ceiling(found):
    assert found.document()["all"]["skill"] > 1.0


def test_the_gaussian_of_a_data_set_beats_nothing_but_the_marginal(found):
    scores = found.document()["all"]
    assert scores["gaussian"]["crps"] < 1.1 * scores["marginal"]["crps"]
    assert scores["noise_ceiling"]["crps"] < 0.5 * scores["gaussian"]["crps"]


def test_samples_at_the_cap_are_left_out(rows):
    test = rows.of_split("test")
    long = test.where(np.flatnonzero(test.llm_of == 1))
    values = {name: getattr(long, name) for name in long.__slots__}
    capped = type(long)(**values | {"caps": np.full(len(long), 100)})
    prior = LengthDistribution(np.array([0, 100, 100_000]), np.array([0.5, 0.5]))
    found = evaluate(HistoryPredictor(tasks={}, prior=prior), capped)
    assert found.judged["model"].samples.max() < 100
    assert all(forecast.edges[-1] == 99 for forecast in found.forecasts)


def test_nothing_to_judge_by(rows):
    with pytest.raises(DatasetError, match="no sample below the cap"):
        evaluate(HistoryPredictor.fit([Prompt("a")], [3]), rows.where(rows.prompt_of < 0))


def test_the_rest_is_known_better_as_tokens_come(found):
    errors = remaining_mae(found)
    assert errors["0"]["mae"] == pytest.approx(errors["0"]["point"])
    assert errors["256"]["samples"] < errors["0"]["samples"]
    assert errors["256"]["mae"] <= errors["256"]["point"]
