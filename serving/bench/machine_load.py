"""What other processes took of the machine while a benchmark measured."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# From here on a user should know that figures would be better on a machine of their own.
BUSY_SHARE = 0.1

_PROC = Path("/proc")
# The fields of the line "cpu" in /proc/stat: user nice system idle iowait irq softirq steal.
_IDLE = (3, 4)
_FIELDS = 8
# Behind the name in a process's stat: its session, and its time in user and in kernel mode.
_SESSION, _USER, _KERNEL = 3, 11, 12


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Clock ticks of all processors so far: all of them, those at work, and those at our work."""

    total: int
    busy: int
    ours: int

    @classmethod
    def now(cls, session: int, proc: Path = _PROC) -> "CpuTimes | None":
        """Read them; ours are this process's and those of a session. ``None`` without Linux."""
        try:
            fields = (proc / "stat").read_text().split("\n", 1)[0].split()[1:]
        except OSError:
            return None
        ticks = [int(field) for field in fields[:_FIELDS]]
        idle = sum(ticks[place] for place in _IDLE)
        return cls(sum(ticks), sum(ticks) - idle, sum(_ours(proc, session)))

    def others_since(self, before: "CpuTimes") -> float | None:
        """Share of all processors that was at work for others; of a moment there is none."""
        total = self.total - before.total
        others = (self.busy - before.busy) - (self.ours - before.ours)
        return min(max(others / total, 0.0), 1.0) if total > 0 else None


def _ours(proc: Path, session: int) -> Iterator[int]:
    """Ticks of each process that is ours."""
    for entry in proc.glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        if int(fields[_SESSION]) == session or entry.parent.name == str(os.getpid()):
            yield int(fields[_USER]) + int(fields[_KERNEL])
