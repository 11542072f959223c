"""Turns a prompt into at most so many tokens: its head and its tail."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from predictor.errors import ArtifactError, ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Ints = NDArray[np.int64]

# Hardly any token spans more characters, so what lies further inside cannot come into the window.
_CHARACTERS_PER_TOKEN = 12


@dataclass(frozen=True, slots=True)
class Window:
    """The first ``head`` and the last ``tail`` tokens of a prompt, special tokens around them.

    People say what they want at either end; of longer prompts the middle is left out.
    ``tokenizer`` is the content of a ``tokenizer.json``.
    """

    tokenizer: bytes
    head: int = 96
    tail: int = 62
    _parsed: "Tokenizer" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.head < 1 or self.tail < 0:
            raise ModelError(
                f"a window of {self.head} + {self.tail} tokens: it needs a head of at least one"
            )
        object.__setattr__(self, "_parsed", _parse(self.tokenizer))

    @property
    def size(self) -> int:
        """Most tokens a prompt can have, the two special ones included."""
        return self.head + self.tail + 2

    def tokens(self, texts: Sequence[str]) -> list[Ints]:
        """For each text int64[<= size] of token ids; never empty."""
        cut = [self._shortened(text) for text in texts]
        return [self._inside(encoding.ids) for encoding in self._parsed.encode_batch_fast(cut)]

    def _shortened(self, text: str) -> str:
        reach = _CHARACTERS_PER_TOKEN * (self.head + self.tail)
        if len(text) > 2 * reach:
            text = f"{text[:reach]} {text[-reach:]}"
        # JSON may hold half of a surrogate pair, which no tokenizer takes.
        return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")

    def _inside(self, ids: Sequence[int]) -> Ints:
        whole = np.asarray(ids, dtype=np.int64)
        if len(whole) <= self.size:
            return whole
        return np.concatenate((whole[: self.head + 1], whole[-self.tail - 1 :]))


def padded(tokens: Sequence[Ints]) -> tuple[Ints, Ints]:
    """Token ids and mask, int64[n, longest] each."""
    longest = max(map(len, tokens))
    ids = np.zeros((len(tokens), longest), dtype=np.int64)
    mask = np.zeros((len(tokens), longest), dtype=np.int64)
    for row, some in enumerate(tokens):
        ids[row, : len(some)] = some
        mask[row, : len(some)] = 1
    return ids, mask


def _parse(content: bytes) -> "Tokenizer":
    try:
        from tokenizers import Tokenizer  # noqa: PLC0415 - comes with transformers
    except ImportError as error:
        raise ModelError(
            "the encoder predictor needs tokenizers: pip install 'slotwise[encoder]'"
        ) from error
    try:
        tokenizer = Tokenizer.from_buffer(content)
    except ValueError as error:
        raise ArtifactError(f"tokenizer.json: {error}; train the predictor anew") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
