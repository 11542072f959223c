import numpy as np
import pytest

from predictor.boosted import BoostedPredictor
from predictor.errors import DatasetError
from predictor.history import HistoryPredictor
from predictor.prompt import Prompt


def mean_crps(forecasts, lengths) -> float:
    return float(np.mean([float(f.crps(n)) for f, n in zip(forecasts, lengths, strict=True)]))


def test_it_learns_what_history_cannot(boosted, examples, fresh_examples):
    prompts, lengths = fresh_examples
    history = HistoryPredictor.fit(*examples)
    ours = mean_crps(boosted.predict(prompts), lengths)
    assert ours < 0.5 * mean_crps(history.predict(prompts), lengths)


def test_intervals_hold(boosted, examples, fresh_examples):
    prompts, lengths = fresh_examples
    calibrated = boosted.calibrated(*fresh_examples)
    inside = [
        f.quantile(0.1) <= n <= f.quantile(0.9)
        for f, n in zip(calibrated.predict(prompts), lengths, strict=True)
    ]
    assert 0.65 < np.mean(inside) < 0.95


def test_one_by_one_is_the_same_as_together(boosted, fresh_examples):
    prompts = fresh_examples[0][:10]
    together = boosted.predict(prompts)
    assert all(boosted.predict([p])[0].equal(f) for p, f in zip(prompts, together, strict=True))


def test_the_same_seed_gives_the_same_model(boosted, examples):
    again = BoostedPredictor.fit(*examples, threads=1)
    assert again.to_files() == boosted.to_files()


@pytest.mark.parametrize("text", ["", " ", "x" * 200_000, "日本語" * 1000, "\ud800"])
def test_any_prompt_has_a_forecast(boosted, text):
    assert 1 <= boosted.predict([Prompt(text)])[0].mean < 10_000


def test_max_tokens_cuts(boosted):
    assert boosted.predict([Prompt("essay about cats?", max_tokens=16)])[0].quantile(1.0) == 16


def test_few_rows_are_refused_by_name(examples):
    prompts, lengths = examples
    with pytest.raises(DatasetError, match="at least 50"):
        BoostedPredictor.fit(prompts[:49], lengths[:49])
    with pytest.raises(DatasetError, match="one per prompt"):
        BoostedPredictor.fit(prompts, lengths[:5])


@pytest.mark.parametrize("length", [0, 1, 77])
def test_fifty_rows_of_one_length_suffice(length):
    prompts = [Prompt(f"question {i}") for i in range(50)]
    fitted = BoostedPredictor.fit(prompts, np.full(50, length), threads=1)
    found = fitted.predict([Prompt("question 3")])[0]
    assert abs(found.quantile(0.5) - max(length, 1)) <= 0.1 * length + 1


def test_empty_prompts_can_be_learnt_from():
    fitted = BoostedPredictor.fit([Prompt("")] * 50, np.arange(1, 51), threads=1)
    assert 15 < fitted.predict([Prompt("")])[0].mean < 35


def test_progress_is_told(examples):
    seen = []
    BoostedPredictor.fit(
        *examples, threads=1, progress=lambda stage, share: seen.append((stage, share))
    )
    assert seen[0] == ("words", 0.0)
    assert seen[-1] == ("quantiles", 1.0)


def test_nothing_to_predict(boosted):
    assert boosted.predict([]) == []
