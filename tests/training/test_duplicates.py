import numpy as np

from training.duplicates import near_duplicates
from training.lengths import KnownPrompt, LengthRows


def test_only_what_is_nearly_a_training_prompt():
    texts = [
        ("Write a function that adds two numbers and returns the sum of both", "train"),
        ("Write a function that adds two numbers and returns the sum of these", "test"),
        ("What is the capital of France?", "test"),
        ("What is the capital of France?", "validation"),
    ]
    rows = LengthRows(
        prompts=tuple(KnownPrompt(str(n), t, "", side) for n, (t, side) in enumerate(texts)),
        llms=("m",),
        prompt_of=np.arange(4),
        llm_of=np.zeros(4, dtype=np.int64),
        samples=np.ones((4, 1), dtype=np.int64),
        caps=np.full(4, 100),
        temperatures=np.full(4, np.nan),
    )
    assert near_duplicates(rows).tolist() == [False, True, False, False]
