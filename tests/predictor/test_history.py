import numpy as np
import pytest

from predictor.errors import DatasetError
from predictor.history import HistoryPredictor
from predictor.prompt import Prompt

PROMPTS = [Prompt("a", task="code")] * 3 + [Prompt("b", task="chat")]
LENGTHS = [10, 20, 30, 500]


def test_each_task_has_its_own_lengths_and_an_unseen_one_the_prior():
    fitted = HistoryPredictor.fit(PROMPTS, LENGTHS)
    code, chat, other = fitted.predict([*PROMPTS[2:], Prompt("c", task="poem")])
    assert code.cdf(34) == pytest.approx(1.0)
    assert chat.cdf(400) == 0.0
    assert other.cdf(100) == pytest.approx(0.75)


def test_gaussian_has_the_tasks_mean_and_spread():
    rng = np.random.default_rng(0)
    lengths = rng.normal(300, 40, 2000).round()
    found = HistoryPredictor.fit([Prompt("a")] * 2000, lengths, gaussian=True).prior
    assert found.mean == pytest.approx(lengths.mean(), rel=0.02)
    assert found.std == pytest.approx(lengths.std(), rel=0.1)


def test_gaussian_puts_what_lies_below_one_token_on_one():
    found = HistoryPredictor.fit([Prompt("a")] * 2, [1, 201], gaussian=True).prior
    assert float(found.cdf(1)) == pytest.approx(0.16, abs=0.01)
    assert float(found.cdf(0)) == 0.0


def test_gaussian_of_one_length_is_a_point():
    assert HistoryPredictor.fit([Prompt("a")], [9], gaussian=True).prior.std == 0.0


def test_max_tokens_cuts():
    cut = HistoryPredictor.fit(PROMPTS, LENGTHS).predict([Prompt("b", max_tokens=100)])[0]
    assert cut.quantile(0.5) == 100


@pytest.mark.parametrize(("prompts", "lengths"), [([], []), (PROMPTS, [1])])
def test_lengths_must_match_the_prompts(prompts, lengths):
    with pytest.raises(DatasetError):
        HistoryPredictor.fit(prompts, lengths)


def test_nothing_to_predict():
    assert HistoryPredictor.fit(PROMPTS, LENGTHS).predict([]) == []
