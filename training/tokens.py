"""Counts the tokens of texts as the engine would."""

import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from predictor.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Ints = NDArray[np.int64]

_BATCH_TEXTS = 512


class TokenCounter(Protocol):
    """Counts tokens; equal fingerprints promise equal counts."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever a count may change."""
        ...

    def count(self, texts: Sequence[str]) -> Ints:
        """int64[len(texts)], tokens of each text without special tokens."""
        ...


class TokenCutter(Protocol):
    """Cuts texts after so many tokens."""

    def cut(
        self, texts: Sequence[str], points: Sequence[int]
    ) -> Iterator[tuple[int, dict[int, str]]]:
        """Per text its tokens, and its beginning at each of the points that it goes beyond."""
        ...


class TokenizerCounter:
    """Counts with the ``tokenizer.json`` of a Hugging Face model folder."""

    def __init__(self, folder: Path) -> None:
        file = folder / "tokenizer.json"
        try:
            content = file.read_bytes()
        except OSError as error:
            raise ModelError(
                f"{file}: {error.strerror or error}; give a model folder with a tokenizer.json"
            ) from error
        self._tokenizer = _parsed(file, content)
        self._fingerprint = hashlib.sha256(content).hexdigest()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of ``tokenizer.json``."""
        return self._fingerprint

    def count(self, texts: Sequence[str]) -> Ints:
        """int64[len(texts)], without special tokens."""
        return np.fromiter(self._counts(texts), dtype=np.int64, count=len(texts))

    def cut(
        self, texts: Sequence[str], points: Sequence[int]
    ) -> Iterator[tuple[int, dict[int, str]]]:
        """Per text its tokens, and its beginning at each of the points that it goes beyond."""
        for start in range(0, len(texts), _BATCH_TEXTS):
            batch = [_encodable(text) for text in texts[start : start + _BATCH_TEXTS]]
            found = self._tokenizer.encode_batch(batch, add_special_tokens=False)
            for text, encoding in zip(batch, found, strict=True):
                ends = encoding.offsets
                yield len(ends), {n: text[: ends[n - 1][1]] for n in points if n < len(ends)}

    def _counts(self, texts: Sequence[str]) -> Iterator[int]:
        for start in range(0, len(texts), _BATCH_TEXTS):
            batch = [_encodable(text) for text in texts[start : start + _BATCH_TEXTS]]
            for encoding in self._tokenizer.encode_batch_fast(batch, add_special_tokens=False):
                yield len(encoding.ids)


class CachedCounter:
    """Remembers the counts of whole lists of texts on disk.

    The key hashes the counter's fingerprint and every text, so a stale answer cannot come
    out; an unreadable entry is counted anew and written over.
    """

    def __init__(self, counter: TokenCounter, folder: Path | None = None) -> None:
        self._counter = counter
        self._folder = folder or cache_folder() / "tokens"

    @property
    def fingerprint(self) -> str:
        """That of the counter inside."""
        return self._counter.fingerprint

    def count(self, texts: Sequence[str]) -> Ints:
        """int64[len(texts)]."""
        file = self._folder / f"{self._key(texts)}.npy"
        if (known := _stored(file, len(texts))) is not None:
            return known
        counts = self._counter.count(texts)
        _store(file, counts)
        return counts

    def _key(self, texts: Sequence[str]) -> str:
        digest = hashlib.sha256(self.fingerprint.encode())
        for text in texts:
            content = text.encode("utf-8", "surrogatepass")
            digest.update(len(content).to_bytes(8, "big"))
            digest.update(content)
        return digest.hexdigest()


def _encodable(text: str) -> str:
    """JSON may hold half of a surrogate pair, which no tokenizer takes."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/slotwise``, by default ``~/.cache/slotwise``."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "slotwise"


def _parsed(file: Path, content: bytes) -> "Tokenizer":
    try:
        from tokenizers import Tokenizer  # noqa: PLC0415 - comes with the engine
    except ImportError as error:
        raise ModelError(f"{file}: counting tokens needs: pip install tokenizers") from error
    try:
        tokenizer = Tokenizer.from_buffer(content)
    except ValueError as error:
        raise ModelError(f"{file}: {error}; the file is damaged, prepare the model anew") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _stored(file: Path, size: int) -> Ints | None:
    try:
        counts = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return counts if counts.shape == (size,) and counts.dtype == np.int64 else None


def _store(file: Path, counts: Ints) -> None:
    """Write whole or not at all; a cache that cannot be written is no fault."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".tmp", delete=False) as part:
            np.save(part, counts)
        Path(part.name).replace(file)
    except OSError:
        return
