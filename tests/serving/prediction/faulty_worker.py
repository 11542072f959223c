"""A predictor process that does what the prompt says: HANG, SLOW, DIE, NAN, FEW, TWICE, ..."""

import os
import sys
import time
from pathlib import Path

import numpy as np

from predictor.distribution import LengthDistribution
from predictor.errors import SlotwiseError
from serving.prediction.forecast import Forecast
from serving.prediction.frames import encode_error, encode_forecasts, frame
from serving.prediction.model_info import ModelInfo
from serving.prediction.worker import greet, private_stdout, serve


class Faulty:
    kind = "faulty"

    def __init__(self, out):
        self._out = out

    def predict(self, prompts):
        return [self._one(prompt) for prompt in prompts][: self._few(prompts)]

    def _few(self, prompts):
        return -1 if any(prompt.text == "FEW" for prompt in prompts) else len(prompts)

    def _one(self, prompt):
        if prompt.text == "HANG":
            time.sleep(60)
        if prompt.text == "SLOW":
            time.sleep(1.0)
        if prompt.text == "TWICE":
            stale = [Forecast.of(LengthDistribution.point(9))]
            self._out.write(frame(1, encode_forecasts(stale)))
        if prompt.text == "NONSENSE":
            self._out.write(b"Exception: a traceback in place of a frame, for example")
        if prompt.text == "DIE":
            os._exit(3)
        if prompt.text == "NAN":
            return LengthDistribution(np.array([0, 1, 2]), np.array([np.nan, 0.5]))
        if prompt.text == "NEGATIVE":
            return LengthDistribution(np.array([0, 1, 2]), np.array([1.5, -0.5]))
        if prompt.text == "ODD":
            return 7
        return LengthDistribution.point(min(len(prompt.text) + 1, prompt.max_tokens or 10**6))


if __name__ == "__main__":
    out = private_stdout()
    try:
        info = ModelInfo.of(Path(sys.argv[1]), name=sys.argv[2])
        print("libraries may print what they like")
        serve(Faulty(out), info, into=sys.stdin.buffer, out=out)
    except SlotwiseError as error:
        greet(out, encode_error(str(error)))
        sys.exit(1)
