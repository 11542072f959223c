"""How long a forecast takes: one prompt alone, and many at once.

python benchmarks/predictor_speed.py --predictor NAME|DIR ... [--threads 1] [--output FILE]

One prompt alone: 126 common words, 128 tokens of MiniLM's, ``--repeats`` different prompts, wall
and CPU time of the thread per call of ``predict``. Many: ``--batch`` prompts in one call. The
encoder runs on a GPU where torch finds one.
"""

import argparse
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np

from predictor.prompt import Prompt
from predictor.protocol import LengthPredictor
from serving.predictors import find_predictor

_TEXT = (
    "explain how the river town market people light work small every system under before water "
    "story large number between house write paper machine simple answer green question because"
)
_PROMPT_WORDS = 126


def prompts(count: int, seed: int) -> list[Prompt]:
    """Different prompts of 126 words each."""
    rng = np.random.default_rng(seed)
    return [Prompt(" ".join(rng.choice(_TEXT.split(), _PROMPT_WORDS))) for _ in range(count)]


def measure(predictor: LengthPredictor, *, repeats: int, batch: int) -> dict[str, Any]:
    """Milliseconds per call for one prompt, and prompts per second in batches."""
    known = getattr(predictor, "llms", (None,))[0]
    asked = [Prompt(p.text, llm=known) for p in prompts(repeats, seed=0)]
    for prompt in asked[:20]:
        predictor.predict([prompt])
    wall, cpu = [], []
    for prompt in asked:
        wall_s, cpu_s = time.perf_counter(), time.thread_time()
        predictor.predict([prompt])
        wall.append(1000.0 * (time.perf_counter() - wall_s))
        cpu.append(1000.0 * (time.thread_time() - cpu_s))
    many = [Prompt(p.text, llm=known) for p in prompts(batch, seed=1)]
    started_s = time.perf_counter()
    predictor.predict(many)
    rate = batch / (time.perf_counter() - started_s)
    return {
        "kind": predictor.kind,
        "wall_ms": dict(zip(("p50", "p99"), np.percentile(wall, (50, 99)).tolist(), strict=True)),
        "thread_ms": dict(zip(("p50", "p99"), np.percentile(cpu, (50, 99)).tolist(), strict=True)),
        "batch": batch,
        "prompts_per_s": rate,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--predictor", action="append", required=True, help="folder or name")
    parser.add_argument("--repeats", type=int, default=300)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    document: dict[str, Any] = {
        "threads": options.threads,
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "predictors": [],
    }
    for name in options.predictor:
        predictor = find_predictor(name)
        if predictor.kind == "encoder":
            import torch  # noqa: PLC0415 - only where it is used

            torch.set_num_threads(options.threads)
            document["gpu"] = torch.cuda.get_device_name() if torch.cuda.is_available() else None
        found = measure(predictor, repeats=options.repeats, batch=options.batch)
        document["predictors"].append(found)
    text = json.dumps(document, indent=2)
    print(text)
    if options.output is not None:
        options.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
