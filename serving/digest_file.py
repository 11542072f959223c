"""The file in which an engine says how it is, for the process around it to pass on.

A file, since vLLM's engine core is a process of vLLM's own with no way to us but its environment.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

from predictor.errors import InputError
from scheduler.placement.digest import Digest

# A serial number, steps without a latency model, steps in which the policy failed.
_HEAD = struct.Struct("<QQQ")


@dataclass(frozen=True, slots=True)
class EngineReport:
    """``serial`` rises with every report of an engine."""

    serial: int
    untrained: int
    fallbacks: int
    digest: Digest

    def to_bytes(self) -> bytes:
        """For :meth:`from_bytes`."""
        return _HEAD.pack(self.serial, self.untrained, self.fallbacks) + self.digest.to_bytes()

    @classmethod
    def from_bytes(cls, raw: bytes) -> "EngineReport":
        """Raises ``InputError`` for what is none."""
        if len(raw) < _HEAD.size:
            raise InputError(f"a report of {len(raw)} bytes is none: run one release everywhere")
        serial, untrained, fallbacks = _HEAD.unpack_from(raw)
        return cls(serial, untrained, fallbacks, Digest.from_bytes(raw[_HEAD.size :]))


def write_report(path: Path, report: EngineReport) -> None:
    """Replace the file whole."""
    # Beside it by its whole name: files of other engines differ in the suffix alone.
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_bytes(report.to_bytes())
    fresh.replace(path)


def read_report(path: Path) -> EngineReport | None:
    """The last report; ``None`` before the first."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    return EngineReport.from_bytes(raw)
