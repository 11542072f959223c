import numpy as np

from training.fast.words import wanted_scores, word_scores
from training.lengths import KnownPrompt, LengthRows


def rows_of(samples, llm_of):
    count = len(samples)
    return LengthRows(
        prompts=tuple(KnownPrompt(str(n), "", "", "train") for n in range(count // 2)),
        llms=("brief", "wordy"),
        prompt_of=np.arange(count) // 2,
        llm_of=np.array(llm_of),
        samples=np.array(samples),
        caps=np.full(count, 10_000),
        temperatures=np.full(count, np.nan),
    )


def test_a_prompt_counts_among_the_answers_of_the_same_llm():
    samples = [[10, 12], [1000, 1200], [100, 90], [9000, 0]]
    wanted = wanted_scores(rows_of(samples, [0, 1, 0, 1]), np.arange(2))
    assert wanted.shape == (2, 6)
    assert wanted[0, 0] < -0.5 < 0.5 < wanted[1, 0]
    # All answers of the second prompt, and none of the first, pass the medians.
    assert wanted[:, 3].tolist() == [0.0, 1.0]


def test_what_the_words_say_is_found_again():
    rng = np.random.default_rng(0)
    words = [np.unique(rng.integers(0, 40, 8)) for _ in range(400)]
    truth = rng.normal(size=40)
    wanted = np.array([[truth[some].sum() / np.sqrt(len(some))] for some in words])
    table, scores = word_scores(words, wanted, size=64, penalty=1.0, seed=0)
    assert np.corrcoef(scores[:, 0], wanted[:, 0])[0, 1] > 0.95
    assert np.isclose(scores.std(), 1.0)
    assert not table[40:].any()


def test_scores_come_from_tables_that_did_not_see_the_prompt():
    """With a word of its own each, prompts say nothing of each other."""
    words = [np.array([place]) for place in range(60)]
    wanted = np.random.default_rng(0).normal(size=(60, 1))
    table, scores = word_scores(words, wanted, size=64, penalty=0.1, seed=0)
    assert np.abs(table).max() > 0.5
    assert not scores.any()
