import numpy as np
import pytest

from training.encoder.targets import targets
from training.lengths import KnownPrompt, LengthRows

EDGES = np.array([0, 10, 20, 40, 80])


def rows(samples, cap):
    samples = np.array([samples])
    return LengthRows(
        prompts=(KnownPrompt("a", "Hi", "", "train"),),
        llms=("m",),
        prompt_of=np.zeros(1, dtype=np.int64),
        llm_of=np.zeros(1, dtype=np.int64),
        samples=samples,
        caps=np.array([cap]),
        temperatures=np.array([np.nan]),
    )


def test_shares_of_several_samples():
    made = targets(rows([5, 15, 15, 60], 1000), EDGES)
    assert made.ended.tolist() == [[0.25, 0.5, 0.0, 0.25]]
    assert made.outlived.tolist() == [[0.75, 0.25, 0.25, 0.0]]
    assert made.cdf.tolist() == [[0.25, 0.75, 0.75, 1.0]]
    assert made.width.tolist() == [[10, 10, 20, 40]]


def test_a_cut_answer_is_no_label():
    """It outlives the bins that end below the cap, and says nothing of the others."""
    made = targets(rows([5, 30], 30), EDGES)
    assert made.ended.tolist() == [[0.5, 0.0, 0.0, 0.0]]
    assert made.outlived.tolist() == [[0.5, 0.5, 0.0, 0.0]]
    assert made.width.tolist() == [[10, 10, 0, 0]]


def test_missing_samples_do_not_count():
    made = targets(rows([15, 0, 0], 1000), EDGES)
    assert made.ended[0] == pytest.approx([0, 1, 0, 0])
