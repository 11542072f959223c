import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

KINDS = {"Summarize": 12, "Write an essay on": 150, "Explain": 60, "Debug this function:": 90}


class WordCounter:
    """One token a word."""

    fingerprint = "words"

    def __init__(self) -> None:
        self.calls = 0

    def count(self, texts: Sequence[str]) -> np.ndarray:
        self.calls += 1
        return np.array([len(text.split()) for text in texts], dtype=np.int64)


def make_record(number: int, prompt: str, answer: str) -> dict[str, Any]:
    turns = [{"from": "human", "value": prompt}, {"from": "gpt", "value": answer}]
    return {"id": f"c{number}_0", "conversations": turns}


def make_records(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Conversations whose answers are as long as their first word says, give or take."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        kind = list(KINDS)[rng.integers(len(KINDS))]
        words = max(4, round(KINDS[kind] * rng.lognormal(0, 0.2)))
        made.append(make_record(number, f"{kind} topic number {number} please", "word " * words))
    return made


@pytest.fixture
def counter() -> WordCounter:
    return WordCounter()


@pytest.fixture
def dataset(tmp_path: Path) -> Callable[[Any], Path]:
    def write(content: Any) -> Path:
        file = tmp_path / "sharegpt.json"
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        return file

    return write


@pytest.fixture
def made_up(dataset: Callable[[Any], Path]) -> Path:
    return dataset(make_records(400))


@pytest.fixture
def record() -> Callable[..., dict[str, Any]]:
    return make_record


@pytest.fixture
def records() -> Callable[..., list[dict[str, Any]]]:
    return make_records


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers and a word tokenizer, as a model folder."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.processors import TemplateProcessing

    words = {w for kind in KINDS for w in kind.replace(":", " :").split()} | {"thing", "number"}
    digits = {str(n) for n in range(10)} | {f"##{n}" for n in range(10)}
    listed = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted(words | digits)]
    tokenizer = Tokenizer(WordPiece({w: i for i, w in enumerate(listed)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    folder = tmp_path_factory.mktemp("encoder")
    config = transformers.BertConfig(
        vocab_size=len(listed), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=64,
    )  # fmt: skip
    torch.manual_seed(0)  # fresh weights: the same in every run
    transformers.BertModel(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
