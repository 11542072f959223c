"""What a server and its predictor processes say to each other: frames of bytes over pipes.

A frame is its length (four bytes, big end first), a number (eight bytes) and the content. An
answer bears the number of its question, so that one that comes late is never taken for another's;
the greeting of a process has number 0. A question is a JSON list of :class:`Prompt` fields in
order. An answer is lines: a JSON object, then one JSON object for each prompt. No pickle.
"""

import struct
from collections.abc import Sequence
from dataclasses import fields
from operator import attrgetter
from typing import BinaryIO

import orjson

from predictor.errors import PredictionError
from predictor.prompt import Prompt
from serving.prediction.forecast import Forecast

HEADER = struct.Struct(">IQ")
MAX_FRAME = 1 << 30
_values = attrgetter(*(field.name for field in fields(Prompt)))


def frame(number: int, payload: bytes) -> bytes:
    """Put length and number in front."""
    return HEADER.pack(len(payload), number) + payload


def read_frame(stream: BinaryIO) -> tuple[int, bytes] | None:
    """Read one frame, its number first; ``None`` when the other side has gone."""
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    size, number = HEADER.unpack(header)
    payload = stream.read(size)
    return (number, payload) if len(payload) == size else None


def encode_prompts(prompts: Sequence[Prompt]) -> bytes:
    """A question; raises ``PredictionError`` for a field that JSON cannot hold."""
    rows: list[Sequence[object]] = [_values(prompt) for prompt in prompts]
    try:
        return orjson.dumps(rows)
    except orjson.JSONEncodeError:
        # Lone surrogates have no UTF-8; a predictor learns nothing from them either.
        rows = [[_utf8(value) for value in row] for row in rows]
    try:
        return orjson.dumps(rows)
    except orjson.JSONEncodeError as error:
        raise PredictionError(f"a prompt has a field beyond JSON: {error}") from error


def decode_prompts(payload: bytes) -> list[Prompt]:
    """Inverse of :func:`encode_prompts`."""
    return [Prompt(*row) for row in orjson.loads(payload)]


def encode_forecasts(forecasts: Sequence[Forecast]) -> bytes:
    """A good answer."""
    head = orjson.dumps({"osl": [forecast.osl for forecast in forecasts]})
    return b"\n".join((head, *(forecast.document for forecast in forecasts)))


def encode_error(message: str) -> bytes:
    """A bad answer."""
    return orjson.dumps({"error": message})


def decode_forecasts(payload: bytes, count: int) -> list[Forecast]:
    """Read an answer for ``count`` prompts; raises ``PredictionError`` for a bad one.

    ``ValueError`` where it is no answer at all.
    """
    lines = payload.split(b"\n")
    head = orjson.loads(lines[0])
    if not isinstance(head, dict):
        raise ValueError(f"{type(head).__name__} in place of an object")
    if "error" in head:
        raise PredictionError(f"the predictor failed: {head['error']}")
    osl = head.get("osl")
    if not isinstance(osl, list) or len(osl) != count or len(lines) != count + 1:
        raise PredictionError(f"the predictor answered {len(lines) - 1} of {count} prompts")
    return [Forecast(mean, line) for mean, line in zip(osl, lines[1:], strict=True)]


def _utf8(value: object) -> object:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
