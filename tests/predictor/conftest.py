import numpy as np
import pytest

from predictor.boosted import BoostedPredictor
from predictor.prompt import Prompt

WORDS = {"short": 20, "essay": 600, "explain": 250, "yes": 4}


def made_up(count: int, seed: int) -> tuple[list[Prompt], np.ndarray]:
    """Prompts whose first word tells how long the answer is, give or take."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(list(WORDS), count)
    fill = rng.choice(["cats", "dogs", "the sea", "a python function"], count)
    prompts = [
        Prompt(f"{word} about {what}?", task="code" if "python" in what else "chat")
        for word, what in zip(chosen, fill, strict=True)
    ]
    lengths = np.array([WORDS[word] for word in chosen]) * rng.lognormal(0.0, 0.3, count)
    return prompts, np.maximum(np.rint(lengths), 1).astype(np.int64)


@pytest.fixture(scope="session")
def examples() -> tuple[list[Prompt], np.ndarray]:
    return made_up(400, seed=1)


@pytest.fixture(scope="session")
def fresh_examples() -> tuple[list[Prompt], np.ndarray]:
    return made_up(150, seed=2)


@pytest.fixture(scope="session")
def boosted(examples: tuple[list[Prompt], np.ndarray]) -> BoostedPredictor:
    prompts, lengths = examples
    return BoostedPredictor.fit(prompts, lengths, threads=1)
