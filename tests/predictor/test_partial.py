import numpy as np
import pytest

from predictor.partial import PartialAnswer, partial_features
from predictor.prompt import Prompt


def features(text, *, prompt="List 12 things", tokens=40):
    return partial_features([PartialAnswer(Prompt(prompt), text, tokens)])[0]


@pytest.mark.parametrize("text", ["", " ", "\n" * 500, "x" * 100_000, "日本語", "\ud800", "``````"])
def test_any_text_has_finite_features(text):
    assert np.isfinite(features(text)).all()


def test_runs_of_line_breaks_cost_no_more_than_text():
    """Squared, this would take minutes."""
    assert np.isfinite(features("\n" * 300_000)).all()


def test_a_list_an_open_block_and_an_end_show():
    plain = features("Cats sleep")
    assert (features("1. a\n2. b\n3. c") != plain).sum() > 3
    opened, closed = features("```py\nx = 1"), features("```py\nx = 1\n```")
    assert opened[11] == 1
    assert closed[11] == 0
    assert features("Overall, fine. ")[15] == 1


def test_the_largest_number_asked_for_shows():
    assert features("a", prompt="Give me 7 of 12")[-2] == 12
    assert features("a", prompt="Give me some")[-2] == 0
