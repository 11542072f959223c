"""What an engine's log says: the phase of its start, and why it died."""

import re
from dataclasses import dataclass
from pathlib import Path

# What vLLM prints -> the phase that begins there, in the order of a start.
_PHASES = (
    ("non-default args", "reading the configuration"),
    ("Resolved architecture", "starting the engine core"),
    ("Initializing a V1 LLM engine", "starting the worker"),
    ("Starting to load model", "loading the weights"),
    ("Loading weights took", "setting up the KV cache"),
    ("Starting vLLM server", "opening the port"),
)
_FIRST_PHASE = "importing vLLM"

# Which process says it; one that Ray started is named twice, in colours.
_PREFIX = re.compile(r"^(?:\(\S+ pid=[^)]*\)\s*)+(?:[A-Z]+ [\d-]+ [\d:]+ \[[^\]]*\]\s?)?")
_COLOUR = re.compile(r"\x1b\[\d*m")
_NOISE = re.compile(
    r"nanobind|leaked|resource_tracker|warnings\.warn|^\s*\^+\s*$|^\s*-? ?\.\.\."
    r"|root cause above|in (?:its )?creation task"
)
_REASON = re.compile(r"^\s*(?:[\w.]+\.)?\w*(?:Error|Exception|error)\b.*:|: error: |^Killed|Fatal")
_TAIL_BYTES = 256 * 1024


@dataclass(slots=True)
class LogFollower:
    """Reads a growing log and knows the phase of the engine's start."""

    path: Path
    phase: str = _FIRST_PHASE
    _offset: int = 0

    def update(self) -> str:
        """Read what is new and return the phase."""
        with self.path.open("rb") as file:
            file.seek(self._offset)
            complete, newline, _ = file.read().rpartition(b"\n")
        self._offset += len(complete) + len(newline)
        for line in complete.decode("utf-8", "replace").splitlines():
            self.phase = next((phase for mark, phase in _PHASES if mark in line), self.phase)
        return self.phase


def last_words(path: Path, *, lines: int = 4) -> str:
    """Return the lines of the log that say most likely why the engine died, newest last."""
    plain = _COLOUR.sub("", _tail(path))
    cleaned = [_PREFIX.sub("", line).rstrip() for line in plain.splitlines()]
    told = [line for line in cleaned if line and not _NOISE.search(line)]
    reasons = list(dict.fromkeys(line.strip() for line in told if _REASON.search(line)))
    return "\n".join((reasons or told)[-lines:]) or "(its log is empty)"


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _TAIL_BYTES))
        return file.read().decode("utf-8", "replace")
