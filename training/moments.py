"""Times and numbers of other people's files."""

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from math import isfinite

from predictor.reading import SkippedItemError

_DATE = re.compile(
    r"(\d{4})[-/](\d\d?)[-/](\d\d?)[T\s]+(\d\d?):(\d\d)(?::(\d\d)(?:[.,](\d+))?)?"
    r"\s*(Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?",
    re.IGNORECASE,
)
_MOST_TOKENS = 1 << 40
PLAIN_DIGITS = 12
_MOST_TEMPERATURE = 100.0
_MINUTE_S = 60
_MINUTES = 1024
# Larger numbers than these are no seconds of our time but milli-, micro- or nanoseconds.
_EPOCH_UNITS_S = ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3))


def moment(value: object) -> float | int:
    """A number of whatever unit as float, a date as nanoseconds since 1970 (int).

    Raises ``SkippedItemError``.
    """
    if isinstance(value, str) and (match := _DATE.fullmatch(value.strip())):
        return _nanoseconds(match)
    number = as_number(value, "time")
    if number < 0.0:
        raise SkippedItemError("negative time", value)
    return number


def epoch_unit_s(number: float) -> float:
    """The unit of a bare number, in seconds: by its size, where it is a time since 1970."""
    return next((unit_s for least, unit_s in _EPOCH_UNITS_S if number > least), 1.0)


def as_number(value: object, what: str) -> float:
    """A finite number, also as text; raises ``SkippedItemError``."""
    if value is None or (isinstance(value, str) and not value.strip()):
        raise SkippedItemError(f"no {what}")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise SkippedItemError(f"{what} is not a number", value)
    try:
        number = float(value)
    except (ValueError, OverflowError) as error:
        raise SkippedItemError(f"{what} is not a number", value) from error
    if not isfinite(number):
        raise SkippedItemError(f"{what} is not a number", value)
    return number


def as_tokens(value: object, what: str) -> int:
    """A whole number, also as text or as a float; raises ``SkippedItemError``."""
    # Nearly all are plain digits, of which files hold millions.
    if (
        isinstance(value, str)
        and value.isascii()
        and value.isdigit()
        and len(value) <= PLAIN_DIGITS
    ):
        return int(value)
    number = as_number(value, what)
    if number != int(number) or abs(number) > _MOST_TOKENS:
        raise SkippedItemError(f"{what} is not a whole number", value)
    if number < 0.0:
        raise SkippedItemError(f"negative {what}", value)
    return int(number)


def as_temperature(value: object) -> float:
    """A sampling temperature, also as text; raises ``SkippedItemError``."""
    temperature = as_number(value, "temperature")
    if not 0.0 <= temperature <= _MOST_TEMPERATURE:
        raise SkippedItemError("temperature is out of range", value)
    return temperature


def _nanoseconds(match: re.Match[str]) -> int:
    *minute, second, fraction, zone = match.groups()
    try:
        start_s = _minute_s(*minute, zone)
        if (seconds := int(second or 0)) >= _MINUTE_S:
            raise ValueError
    except ValueError as error:
        raise SkippedItemError("time is not a date", match.group()) from error
    return (start_s + seconds) * 1_000_000_000 + int((fraction or "0").ljust(9, "0")[:9])


@lru_cache(maxsize=_MINUTES)  # Neighbouring rows of a trace share it.
def _minute_s(year: str, month: str, day: str, hour: str, minute: str, zone: str | None) -> int:
    """Seconds from 1970 to the start of a minute; raises ``ValueError``."""
    date = datetime(int(year), int(month), int(day), int(hour), int(minute), tzinfo=_zone(zone))
    since = date - datetime(1970, 1, 1, tzinfo=UTC)
    return since.days * 86_400 + since.seconds


def _zone(text: str | None) -> timezone:
    if not text or text[0] not in "+-":
        return UTC
    digits = text[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(offset if text[0] == "+" else -offset)
