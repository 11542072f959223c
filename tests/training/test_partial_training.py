"""Answers cut after 32, 64, ... words: what their text tells is learned."""

import numpy as np
import pytest

from predictor.errors import DatasetError
from predictor.history import HistoryPredictor
from predictor.prompt import Prompt
from training.partial import refine
from training.sharegpt import Conversation, Turn


class WordCutter:
    """One token a word."""

    def cut(self, texts, points):
        for text in texts:
            words = text.split(" ")
            beginnings = {n: " ".join(words[:n]) for n in points if n < len(words)}
            yield len(words), beginnings


def conversations(count, seed=0):
    """Two turns each; half of the answers are lists, which are long."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        turns = []
        for _ in range(2):
            long = rng.random() < 0.5
            words = int((400 if long else 60) * rng.lognormal(0, 0.2)) + 2
            word = "\n1. point" if long else "word."
            turns += [Turn("human", "Tell me"), Turn("gpt", " ".join([word] * words))]
        made.append(Conversation(f"c{number}_0", tuple(turns)))
    return made


def silent(stage, share):
    del stage, share


@pytest.fixture(scope="module")
def base():
    rng = np.random.default_rng(1)
    lengths = np.where(rng.random(500) < 0.5, 400, 60)
    return HistoryPredictor.fit([Prompt("", task="chat")] * 500, lengths)


def test_the_text_helps_and_says_by_how_much(base):
    predictor, scores = refine(base, conversations(500), WordCutter(), progress=silent)
    assert predictor.kind == "corrected"
    assert [entry.generated for entry in scores] == [32, 64, 128, 256]
    first = scores[0]
    assert first.corrected_mae < 0.6 * first.plain_mae
    assert first.corrected_crps < 0.8 * first.plain_crps
    assert first.document()["answers"] == first.answers > 50


def test_short_answers_teach_nothing(base):
    short = Conversation("c_0", (Turn("human", "hi"), Turn("gpt", "hello")))
    with pytest.raises(DatasetError, match="at least 50"):
        refine(base, [short] * 100, WordCutter(), progress=silent)
