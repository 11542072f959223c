"""An answer that is being written: what is out of it tells how much is still to come."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

from predictor.prompt import Prompt

Floats = NDArray[np.float64]

PARTIAL_FEATURE_VERSION = 1

# Blanks, not line breaks: runs of those would be searched again from each.
_NUMBERED = re.compile(r"^[ \t]*(\d{1,3})[.)]\s", re.MULTILINE)
_BULLET = re.compile(r"^[ \t]*[-*•]\s", re.MULTILINE)
_HEADING = re.compile(r"^[ \t]*(?:#+ |\*\*)", re.MULTILINE)
_CLOSING = re.compile(
    r"\b(?:in conclusion|overall|i hope|let me know|in summary|finally|lastly|please note)\b"
)
_NUMBER = re.compile(r"\b\d{1,3}\b")
_HEAD_CHARACTERS = 120
_TAIL_CHARACTERS = 160
_PROMPT_CHARACTERS = 3000
_FEATURES = 25


@dataclass(frozen=True, slots=True)
class PartialAnswer:
    """The ``text`` that came so far, ``tokens`` of it, in answer to ``prompt``."""

    prompt: Prompt
    text: str
    tokens: int


def partial_features(answers: Sequence[PartialAnswer]) -> Floats:
    """float64[len(answers), 25]; some 45 us each for a hundred tokens of text."""
    rows = np.empty((len(answers), _FEATURES))
    for row, answer in enumerate(answers):
        rows[row] = (*_structure(answer), *_wording(answer), *_asked(answer.prompt.text))
    return rows


def _structure(answer: PartialAnswer) -> tuple[float, ...]:
    text = answer.text
    lines = text.split("\n")
    numbers = [int(number) for number in _NUMBERED.findall(text)]
    fences = text.count("```")
    return (
        log(max(answer.tokens, 1)),
        len(text) / max(answer.tokens, 1),
        len(lines),
        len(text) / len(lines),
        len(lines[-1]),
        text.count("\n\n"),
        len(numbers),
        max(numbers, default=0),
        len(_BULLET.findall(text)),
        len(_HEADING.findall(text)),
        fences,
        fences % 2,
        text.count("|"),
        text.count("{") - text.count("}"),
        text.count(";"),
        text.rstrip()[-1:] in (".", "!", "?"),
    )


def _wording(answer: PartialAnswer) -> tuple[float, ...]:
    lowered = answer.text.lower()
    head, tail = lowered[:_HEAD_CHARACTERS], lowered[-_TAIL_CHARACTERS:]
    words = lowered.split()
    return (
        len(_CLOSING.findall(lowered)),
        len(_CLOSING.findall(tail)),
        tail.count("?"),
        "sorry" in head,
        head.startswith(("sure", "certainly", "here")),
        len(set(words)) / max(len(words), 1),
        lowered.count(" you"),
    )


def _asked(text: str) -> tuple[float, ...]:
    numbers = map(int, _NUMBER.findall(text[:_PROMPT_CHARACTERS]))
    return max(numbers, default=0), log(1 + len(text))
