"""One row of observed lengths: of which prompt, by which LLM, how long."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan

from predictor.reading import SkippedItemError
from training.moments import PLAIN_DIGITS, as_temperature, as_tokens

# CASTILLO's own limit; a sample this long was cut there.
DEFAULT_CAP = 14_999
LENGTH_FIELDS = ("prompt_id", "model", "output_sizes")
# What the same columns are called elsewhere, ours first.
_IDS = ("prompt_id", "id", "custom_id", "request_id")
_LLMS = ("model", "llm", "model_name")
_SIZES = ("output_sizes", "output_size", "output_tokens", "output_lengths", "output_length")
_TEMPERATURES = ("temp", "temperature")
_BRACKETS = str.maketrans("[](),;", "      ")


@dataclass(frozen=True, slots=True)
class LengthRow:
    """Row of prompt number ``prompt``; samples in tokens, cut at ``cap``."""

    prompt: int
    llm: str
    samples: tuple[int, ...]
    cap: int
    temperature: float


class LengthParser:
    """Reads rows of prompts that are known by their ids."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._number = {identifier: place for place, identifier in enumerate(ids)}

    def row(self, record: object) -> LengthRow:
        """One row; raises ``SkippedItemError``."""
        if not isinstance(record, Mapping):
            raise SkippedItemError("not an object", record)
        identifier, llm, sizes = _value(record, _IDS), _value(record, _LLMS), _value(record, _SIZES)
        if identifier is None or llm is None or sizes is None:
            missing = (identifier, llm, sizes).index(None)
            raise SkippedItemError(f"no {LENGTH_FIELDS[missing]}")
        if (place := self._number.get(str(identifier))) is None:
            raise SkippedItemError("prompt_id has no prompt in prompts.jsonl", identifier)
        return LengthRow(place, str(llm), _samples(sizes), _cap(record), _temperature(record))


def _value(record: Mapping[str, object], names: Sequence[str]) -> object:
    for name in names:
        value = record.get(name)
        if value is not None and value != "":
            return value
    return None


def _samples(sizes: object) -> tuple[int, ...]:
    """Of words or a list; a length of 0 counts as 1."""
    if isinstance(sizes, str):
        sizes = sizes.translate(_BRACKETS).split()
        # Nearly all are plain digits, of which files hold millions.
        digits = "".join(sizes)
        if digits.isascii() and digits.isdigit() and max(map(len, sizes)) <= PLAIN_DIGITS:
            return tuple([int(size) or 1 for size in sizes])
    listed = sizes if isinstance(sizes, list) else [sizes]
    if not listed:
        raise SkippedItemError("no output_sizes")
    return tuple(max(as_tokens(size, "output_sizes"), 1) for size in listed)


def _cap(record: Mapping[str, object]) -> int:
    limit = record.get("max_tokens")
    if limit in (None, ""):
        return DEFAULT_CAP
    cap = as_tokens(limit, "max_tokens")
    if not cap:
        raise SkippedItemError("max_tokens is 0")
    return cap


def _temperature(record: Mapping[str, object]) -> float:
    """Not a number where the row does not say it."""
    try:
        return as_temperature(_value(record, _TEMPERATURES))
    except SkippedItemError:
        return nan
