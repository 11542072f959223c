"""Cheap features of a prompt's text, for predictors that must answer within a millisecond."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log1p
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from predictor.prompt import Prompt

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FEATURE_VERSION = 1
BUCKETS = 1 << 16

# Of longer texts only the head and the tail are read word by word; both are where people say
# what they want. Lengths and line counts always cover the whole text.
_HEAD_CHARACTERS = 3000
_TAIL_CHARACTERS = 600
_HEAD_WORDS = 80
_TAIL_WORDS = 30

_WORD = re.compile(r"[^\W\d_]+(?:'[a-z]+)?|\d+|```")
_DIGIT = re.compile(r"\d")
_AMOUNT = re.compile(
    r"\b(\d{1,6})[\s+-]*(?:[a-z]+[\s-]+){0,2}?"
    r"(words?|characters?|sentences?|paragraphs?|lines?|pages?|minutes?|tokens?)\b"
)
_COUNTED = re.compile(
    r"\b(\d{1,3})\s+(?:[a-z]+\s+){0,2}?"
    r"(?:examples?|ideas?|ways?|questions?|steps?|reasons?|points?|names?|titles?|tips?|items?"
    r"|things|options|suggestions?|variations?|keywords?|topics?|bullets?|facts?|headlines?)\b"
)
_UNIT_TOKENS = {
    "word": 1.4, "character": 0.25, "sentence": 25.0, "paragraph": 100.0, "line": 15.0,
    "page": 600.0, "minute": 200.0, "token": 1.0,
}  # fmt: skip

# Each group is one feature: how many of its words the text holds.
_GROUPS = {
    "list": "list lists bullet bullets points table tables outline enumerate itemize",
    "essay": "essay article blog story report letter chapter script speech poem song lyrics",
    "write": "write generate create draft compose produce design develop build",
    "explain": "explain describe elaborate discuss detail compare contrast analyze analyse",
    "short_form": "summarize summarise summary tldr title titles name names headline slogan",
    "translate": "translate translation rewrite rephrase paraphrase proofread correct grammar",
    "steps": "step steps guide tutorial instructions walkthrough plan schedule itinerary how",
    "brief": "short brief briefly concise concisely one only single yes no just simply quick",
    "detailed": "detailed detail details comprehensive thorough long longer extensive depth full "
    "complete complex advanced expand more",
    "question": "what why when where who which is are does do can could would should did was",
    "code": "code function class program script implement python javascript java typescript react "
    "html css sql php rust bash api json regex algorithm django flask node numpy pandas "
    "c cpp kotlin swift golang component test tests def import return const var",
    "bug": "error errors bug fix debug exception traceback undefined fails failed wrong issue",
    "continue": "continue go proceed next again ok okay thanks thank yes sure please",
    "reply_only": "reply act acknowledge understood ready wait remember answer respond "
    "confirm follow following prompt i'll i",
    "second_person": "you your we our let's let",
}
_GROUP_NAMES = tuple(_GROUPS)
_GROUP_OF_WORD: dict[str, tuple[int, ...]] = {
    word: tuple(i for i, words in enumerate(_GROUPS.values()) if word in words.split())
    for words in _GROUPS.values()
    for word in words.split()
}

_PLAIN_NAMES = (
    "log_characters", "log_words", "log_lines", "mean_word_characters", "distinct_share",
    "non_ascii_share", "non_latin_share", "upper_share", "digit_share", "fences", "question_marks",
    "ends_question", "ends_colon", "colons", "quotes", "braces", "urls", "bullets", "blank_lines",
    "last_line_characters", "starts_lower", "log_asked_tokens", "log_asked_items", "largest_number",
)  # fmt: skip


def feature_names() -> list[str]:
    """Names of the columns of :func:`lexical_features`."""
    heads = [f"head_{name}" for name in _GROUP_NAMES]
    return [*_PLAIN_NAMES, *(f"count_{name}" for name in _GROUP_NAMES), *heads]


def lexical_features(prompts: Sequence[Prompt]) -> Floats:
    """float64[len(prompts), len(feature_names())]."""
    return _rows([_read(prompt.text) for prompt in prompts])


def ngram_buckets(prompts: Sequence[Prompt], size: int = BUCKETS) -> list[Ints]:
    """For each prompt the distinct buckets (0 <= bucket < size) of its words and word pairs.

    Words of the head, marked by place where they come first, and of the tail.
    """
    return [_buckets(_read(prompt.text), size) for prompt in prompts]


def features_and_buckets(prompts: Sequence[Prompt], size: int) -> tuple[Floats, list[Ints]]:
    """Both, each text read once; the buckets modulo ``size``. Some 0.24 ms for 100 words."""
    read = [_read(prompt.text) for prompt in prompts]
    return _rows(read), [_buckets(each, size) for each in read]


@dataclass(frozen=True, slots=True)
class _Read:
    """A text, what is read of it word by word, the same in lower case, and its words."""

    text: str
    excerpt: str
    lowered: str
    words: list[str]


def _read(text: str) -> _Read:
    excerpt = _excerpt(text)
    lowered = excerpt.lower()
    return _Read(text, excerpt, lowered, _WORD.findall(lowered))


def _rows(read: Sequence[_Read]) -> Floats:
    rows = np.empty((len(read), len(_PLAIN_NAMES) + 2 * len(_GROUPS)))
    for row, each in enumerate(read):
        rows[row] = _row(each)
    return rows


def _excerpt(text: str) -> str:
    if len(text) <= _HEAD_CHARACTERS + _TAIL_CHARACTERS:
        return text
    return f"{text[:_HEAD_CHARACTERS]}\n{text[-_TAIL_CHARACTERS:]}"


def _row(read: _Read) -> list[float]:
    words = read.words
    scale = len(read.text) / max(len(read.excerpt), 1)
    return [
        *_sizes(read.text, words, scale),
        *_shares(read.excerpt),
        *_marks(read.excerpt),
        *_amounts(read.lowered, words),
        *map(log1p, _group_counts(words)),
        *_group_counts(words[:6]),
    ]


def _sizes(text: str, words: list[str], scale: float) -> tuple[float, ...]:
    count = max(len(words), 1)
    return (
        log1p(len(text)),
        log1p(len(words) * scale),
        log1p(text.count("\n")),
        sum(map(len, words)) / count,
        len(set(words)) / count,
    )


def _shares(excerpt: str) -> tuple[float, ...]:
    size = max(len(excerpt), 1)
    codes = np.frombuffer(excerpt.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    upper = (codes >= ord("A")) & (codes <= ord("Z"))
    digit = (codes >= ord("0")) & (codes <= ord("9"))
    return (
        float(np.count_nonzero(codes > 127)) / size,
        float(np.count_nonzero(codes > 0x2FF)) / size,
        float(np.count_nonzero(upper)) / size,
        float(np.count_nonzero(digit)) / size,
    )


def _marks(excerpt: str) -> tuple[float, ...]:
    ending = excerpt.rstrip()[-1:]
    start = excerpt.lstrip()[:1]
    return (
        excerpt.count("```"),
        log1p(excerpt.count("?")),
        ending == "?",
        ending == ":",
        log1p(excerpt.count(":")),
        log1p(excerpt.count('"')),
        log1p(excerpt.count("{") + excerpt.count(";")),
        log1p(excerpt.count("http")),
        log1p(excerpt.count("\n-") + excerpt.count("\n*") + excerpt.count("\n1.")),
        log1p(excerpt.count("\n\n")),
        log1p(len(excerpt.rstrip().rpartition("\n")[2])),
        start.islower(),
    )


def _amounts(lowered: str, words: list[str]) -> tuple[float, ...]:
    """What the prompt asks for in so many words; numbers of up to six digits."""
    if _DIGIT.search(lowered) is None:
        return 0.0, 0.0, 0.0
    asked = max(
        (int(n) * _UNIT_TOKENS[unit.rstrip("s")] for n, unit in _AMOUNT.findall(lowered)), default=0
    )
    items = max(map(int, _COUNTED.findall(lowered)), default=0)
    numbers = [int(word) for word in words if len(word) <= 6 and word.isdecimal()]
    return log1p(asked), log1p(items), log1p(max(numbers, default=0))


def _group_counts(words: list[str]) -> list[int]:
    counts = [0] * len(_GROUPS)
    for word in words:
        for group in _GROUP_OF_WORD.get(word, ()):
            counts[group] += 1
    return counts


def _buckets(read: _Read, size: int) -> Ints:
    text, words = read.text, read.words
    if len(text) > _HEAD_CHARACTERS:
        words = _WORD.findall(text[:_HEAD_CHARACTERS].lower())
    head = words[:_HEAD_WORDS]
    # A short text is all head and all tail; its words need not be found twice.
    if len(text) > _TAIL_CHARACTERS:
        words = _WORD.findall(text[-_TAIL_CHARACTERS:].lower())
    tail = words[-_TAIL_WORDS:]
    terms = {*head, *map(" ".join, pairwise(head))}
    terms.update(f"^{place}{word}" for place, word in enumerate(head[:3]))
    terms.update(f"${word}" for word in (*tail, *map(" ".join, pairwise(tail))))
    if not terms:
        return np.zeros(0, dtype=np.int64)
    # Encoded all at once, which is twice as fast; no term holds a line break.
    encoded = "\n".join(terms).encode("utf-8", "surrogatepass").split(b"\n")
    hashed = np.fromiter(map(crc32, encoded), dtype=np.int64, count=len(encoded))
    return np.unique(hashed % BUCKETS % size)
