"""Observed answer lengths of many prompts and LLMs, read from a folder of two files.

``prompts.jsonl[.gz]`` holds ``prompt_id, dataset, prompt_text, split``; ``lengths.csv[.gz]`` holds
``prompt_id, model, output_sizes`` (whole numbers, space separated) and, where known, ``temp``,
``top_p``, ``top_k`` and ``max_tokens`` (where answers were cut). This is CASTILLO's layout
(arXiv 2505.16881) and what ``slotwise collect`` writes.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from predictor.errors import DatasetError
from predictor.prompt import Prompt
from predictor.reading import SkippedItemError, Tally
from training.classes import slo_class
from training.length_rows import DEFAULT_CAP, LENGTH_FIELDS, LengthParser
from training.records import Placed, read_records
from training.sharegpt import Conversation
from training.split import Split, held_for_validation, split_of
from training.textfile import content_of
from training.tokens import TokenCounter
from training.wrapped import unwrapped

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_SPLITS: tuple[Split, ...] = ("train", "validation", "test")
_PROMPT_FIELDS = ("prompt_id", "prompt_text")


@dataclass(frozen=True, slots=True)
class KnownPrompt:
    """One prompt; ``dataset`` says where it comes from."""

    id: str
    text: str
    dataset: str
    split: Split


@dataclass(frozen=True, slots=True, eq=False)
class LengthRows:
    """Row r: the LLM ``llms[llm_of[r]]`` answered ``prompts[prompt_of[r]]``.

    ``samples`` is int64[n, S] in tokens, 0 where a row has fewer; a sample >= ``caps[r]`` was cut
    there and is known only to be that long. ``temperatures`` is float64[n], nan where unknown.
    """

    prompts: tuple[KnownPrompt, ...]
    llms: tuple[str, ...]
    prompt_of: Ints
    llm_of: Ints
    samples: Ints
    caps: Ints
    temperatures: Floats
    sha256: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.prompt_of)

    @property
    def seen(self) -> NDArray[np.bool_]:
        """bool[n, S]: samples that are there and were not cut."""
        return np.asarray((self.samples > 0) & (self.samples < self.caps[:, None]))

    @property
    def cut(self) -> NDArray[np.bool_]:
        """bool[n, S]: samples that reached the cap."""
        return np.asarray(self.samples >= self.caps[:, None])

    def of_split(self, split: Split) -> Self:
        """The rows whose prompt lies on that side."""
        side = np.array([prompt.split == split for prompt in self.prompts])
        return self.where(side[self.prompt_of])

    def of_llm(self, llm: str) -> Self:
        """The rows of one LLM."""
        return self.where(self.llm_of == self.llms.index(llm))

    def without(self, llms: Sequence[str]) -> Self:
        """The rows of all other LLMs; the names left out are forgotten."""
        kept = [name for name in self.llms if name not in llms]
        rows = self.where(~np.isin(self.llm_of, [self.llms.index(n) for n in llms]))
        number = {self.llms.index(name): place for place, name in enumerate(kept)}
        moved = np.array([number[int(i)] for i in rows.llm_of], dtype=np.int64)
        return rows._replace(llms=tuple(kept), llm_of=moved)

    def where(self, rows: NDArray[np.bool_] | Ints) -> Self:
        """Some of the rows, by mask or index; prompts keep their numbers."""
        return self._replace(
            prompt_of=self.prompt_of[rows],
            llm_of=self.llm_of[rows],
            samples=self.samples[rows],
            caps=self.caps[rows],
            temperatures=self.temperatures[rows],
        )

    def requests(self) -> list[Prompt]:
        """What a predictor is asked for each row."""
        tasks = {int(p): slo_class(self.prompts[p].text) for p in np.unique(self.prompt_of)}
        return [
            Prompt(
                text=self.prompts[p].text,
                task=tasks[int(p)],
                llm=self.llms[m],
                temperature=None if np.isnan(t) else float(t),
            )
            for p, m, t in zip(self.prompt_of, self.llm_of, self.temperatures, strict=True)
        ]

    def datasets(self) -> list[str]:
        """For each row where its prompt comes from."""
        return [self.prompts[p].dataset for p in self.prompt_of]

    def fingerprinted(self, sources: Mapping[str, bytes]) -> Self:
        """The same rows, that came of these files."""
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in sources.items()}
        return self._replace(sha256=sums)

    def _replace(self, **changes: object) -> Self:
        values = {name: getattr(self, name) for name in self.__slots__} | changes
        return type(self)(**values)


def read_lengths(folder: Path) -> LengthRows:
    """Read a folder in this layout.

    Prompts and rows that cannot be used are left out and counted. Raises ``DatasetError`` where
    nothing is left.
    """
    prompts_file, lengths_file = _file(folder, "prompts.jsonl"), _file(folder, "lengths.csv")
    rows = rows_of(_prompts(prompts_file), str(lengths_file), read_records(lengths_file))
    return rows.fingerprinted({f.name: content_of(f) for f in (prompts_file, lengths_file)})


def rows_of(
    prompts: Sequence[KnownPrompt], name: str, records: Iterable[Placed], *, others: bool = False
) -> LengthRows:
    """The rows of a ``lengths.csv`` with their prompts; ``name`` stands in messages.

    Rows of prompts that are not given are left out; with ``others`` nothing is said of that.
    """
    tally = Tally(name)
    parse = LengthParser([prompt.id for prompt in prompts]).row
    rows = list(tally.used(unwrapped(iter(records), parse), parse))
    tally.close(f"expected columns {','.join(LENGTH_FIELDS)}", say=not others)
    llms = tuple(sorted({row.llm for row in rows}))
    number = {llm: place for place, llm in enumerate(llms)}
    width = max(len(row.samples) for row in rows)
    return LengthRows(
        prompts=tuple(prompts),
        llms=llms,
        prompt_of=np.array([row.prompt for row in rows], dtype=np.int64),
        llm_of=np.array([number[row.llm] for row in rows], dtype=np.int64),
        samples=np.array(
            [(*row.samples, *([0] * (width - len(row.samples)))) for row in rows], dtype=np.int64
        ),
        caps=np.array([row.cap for row in rows], dtype=np.int64),
        temperatures=np.array([row.temperature for row in rows]),
    )


def _file(folder: Path, name: str) -> Path:
    for candidate in (folder / f"{name}.gz", folder / name):
        if candidate.is_file():
            return candidate
    raise DatasetError(
        f"{folder}: holds no {name} or {name}.gz; give a folder with prompts.jsonl and lengths.csv"
    )


def _prompts(file: Path) -> list[KnownPrompt]:
    known: set[str] = set()

    def parsed(record: object) -> KnownPrompt:
        prompt = _prompt(record)
        if prompt.id in known:
            raise SkippedItemError("prompt_id occurs twice", prompt.id)
        known.add(prompt.id)
        return prompt

    tally = Tally(str(file), item="prompt")
    found = list(tally.used(unwrapped(read_records(file), _prompt), parsed))
    tally.close('expected {"prompt_id": ..., "prompt_text": ...} lines')
    return found


def _prompt(record: object) -> KnownPrompt:
    if not isinstance(record, Mapping):
        raise SkippedItemError("not an object", record)
    values = [record.get(name) for name in _PROMPT_FIELDS]
    for name, value in zip(_PROMPT_FIELDS, values, strict=True):
        if value is None:
            raise SkippedItemError(f"no {name}")
    identifier, text = map(str, values)
    return KnownPrompt(identifier, text, str(record.get("dataset", "")), _side(record, identifier))


def _side(record: Mapping[str, object], identifier: str) -> Split:
    """The file's split, with part of its training prompts kept for validation."""
    told = record.get("split")
    if told not in _SPLITS:
        return split_of(identifier)
    if told == "train" and held_for_validation(identifier):
        return "validation"
    return next(side for side in _SPLITS if side == told)


def joined(first: LengthRows, second: LengthRows) -> LengthRows:
    """All rows of both; prompts and LLMs of ``second`` are numbered after those of ``first``."""
    llms = first.llms + tuple(name for name in second.llms if name not in first.llms)
    number = np.array([llms.index(name) for name in second.llms], dtype=np.int64)
    width = max(first.samples.shape[1], second.samples.shape[1])
    return LengthRows(
        prompts=first.prompts + second.prompts,
        llms=llms,
        prompt_of=np.concatenate((first.prompt_of, second.prompt_of + len(first.prompts))),
        llm_of=np.concatenate((first.llm_of, number[second.llm_of])),
        samples=np.concatenate([_widened(rows.samples, width) for rows in (first, second)]),
        caps=np.concatenate((first.caps, second.caps)),
        temperatures=np.concatenate((first.temperatures, second.temperatures)),
        sha256=_all_sums(first.sha256, second.sha256),
    )


def first_turn_prompt(conversation: Conversation) -> KnownPrompt:
    """A conversation's first prompt, on the side of the split of all its pieces."""
    asked, _ = conversation.first_turn
    dataset = f"ShareGPT-{slo_class(asked)}"
    return KnownPrompt(conversation.id, asked, dataset, split_of(conversation.base_id))


def from_sharegpt(
    conversations: Sequence[Conversation],
    counter: TokenCounter,
    *,
    llm: str = "sharegpt",
    sha256: str = "",
) -> LengthRows:
    """The first turn of each conversation: one answer each, of an LLM called ``llm``."""
    answers = [conversation.first_turn[1] for conversation in conversations]
    lengths = np.maximum(counter.count(answers), 1)
    count = len(answers)
    prompts = tuple(first_turn_prompt(conversation) for conversation in conversations)
    return LengthRows(
        prompts=prompts,
        llms=(llm,),
        prompt_of=np.arange(count, dtype=np.int64),
        llm_of=np.zeros(count, dtype=np.int64),
        samples=lengths[:, None],
        caps=np.full(count, DEFAULT_CAP, dtype=np.int64),
        temperatures=np.full(count, np.nan),
        sha256={"sharegpt": sha256},
    )


def apart_from(rows: LengthRows, judged: LengthRows) -> LengthRows:
    """The rows whose prompt is no text that ``judged`` keeps for validation or test."""
    kept_back = {p.text.strip() for p in judged.prompts if p.split != "train"}
    known = np.array([prompt.text.strip() not in kept_back for prompt in rows.prompts])
    return rows.where(known[rows.prompt_of])


def _all_sums(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, str]:
    """Of both, also where files of two folders have the same name."""
    sums = dict(first)
    for name, value in second.items():
        while sums.get(name, value) != value:
            name = f"{name}+"  # noqa: PLW2901 - the next name that is free
        sums[name] = value
    return sums


def _widened(samples: Ints, width: int) -> Ints:
    return np.pad(samples, ((0, 0), (0, width - samples.shape[1])))
