"""A predictor in a process of its own: ``python -m serving.prediction.worker FOLDER NAME``.

It reads questions from its standard input and answers on its standard output until the former
closes, so it ends with the server that started it. A fault of the predictor that is no error of
ours ends the process; the server starts another one.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import orjson

from predictor import artifact
from predictor.distribution import LengthDistribution
from predictor.errors import PredictionError, SlotwiseError
from predictor.prompt import Prompt
from predictor.protocol import LengthPredictor
from serving.prediction.forecast import encode_all
from serving.prediction.frames import (
    decode_prompts,
    encode_error,
    encode_forecasts,
    frame,
    read_frame,
)
from serving.prediction.model_info import ModelInfo

# Every model has to answer these before it is let near a request; they warm it up, too.
CANARY = (
    Prompt("Write a Python function that reverses a list.", "code", 12, 1024),
    Prompt("Hi!", "chat", 2, None),
    Prompt("Explain at length how a sailing ship is built. " * 40, "chat", 400, 2048),
    Prompt("Übersetze: 猫が好きです", "no class of this name", None, 1),
    Prompt("", "chat", 0, 16),
)


def serve(predictor: LengthPredictor, info: ModelInfo, *, into: BinaryIO, out: BinaryIO) -> None:
    """Say who answers, then answer questions until ``into`` ends."""
    checked(predictor, CANARY)
    for _ in range(3):
        encode_all(checked(predictor, CANARY * 4))
    greet(out, orjson.dumps(info.to_dict()))
    while (asked := read_frame(into)) is not None:
        number, question = asked
        _write(out, number, answer(predictor, question))


def answer(predictor: LengthPredictor, question: bytes) -> bytes:
    """One answer, or what went wrong."""
    try:
        return encode_forecasts(encode_all(checked(predictor, decode_prompts(question))))
    except (SlotwiseError, ValueError, ArithmeticError) as error:
        return encode_error(f"{type(error).__name__}: {error}")


def checked(predictor: LengthPredictor, prompts: Sequence[Prompt]) -> list[LengthDistribution]:
    """Predict, and insist on one distribution per prompt that keeps its ``max_tokens``."""
    lengths = predictor.predict(prompts)
    if len(lengths) != len(prompts):
        raise PredictionError(f"{len(lengths)} distributions for {len(prompts)} prompts")
    for prompt, each in zip(prompts, lengths, strict=True):
        if not isinstance(each, LengthDistribution):
            raise PredictionError(f"{type(each).__name__} is no length distribution")
        if prompt.max_tokens is not None and each.edges[-1] > max(prompt.max_tokens, 1):
            raise PredictionError(f"a length above max_tokens {prompt.max_tokens}")
    return lengths


def private_stdout() -> BinaryIO:
    """The standard output for frames alone; what libraries print goes to the standard error."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return out


def main() -> None:
    """Load the artifact and serve it."""
    out, folder = private_stdout(), Path(sys.argv[1])
    try:
        info = ModelInfo.of(folder, name=sys.argv[2])
        serve(artifact.load(folder), info, into=sys.stdin.buffer, out=out)
    except SlotwiseError as error:
        greet(out, encode_error(str(error)))
        sys.exit(1)


def greet(out: BinaryIO, payload: bytes) -> None:
    """Name the model that predicts, or the fault that keeps it from it."""
    _write(out, 0, payload)


def _write(out: BinaryIO, number: int, payload: bytes) -> None:
    out.write(frame(number, payload))
    out.flush()


if __name__ == "__main__":
    main()
