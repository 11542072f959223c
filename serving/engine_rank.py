"""Which of the engines of one server a scheduler belongs to.

With vLLM's ``--data-parallel-size N`` a server has N engines in processes of their own, all with
the same environment. What a setting names for one of them must not be shared by the others.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MOST_PORTS = 64
_LAST_PORT = 65_535


@dataclass(frozen=True, slots=True)
class EngineRank:
    """``index`` counts from 0 over all data-parallel engines, those on other hosts included."""

    index: int = 0

    @classmethod
    def of(cls, vllm_config: Any) -> "EngineRank":
        """Of the engine that is configured so."""
        parallel = vllm_config.parallel_config
        # Engines of a dense model are told that each is the only one; the index stays.
        return cls(int(getattr(parallel, "data_parallel_index", parallel.data_parallel_rank)))

    def file(self, path: Path) -> Path:
        """A file of this engine's own: ``steps.jsonl``, ``steps.1.jsonl``, ..."""
        return path if self.index == 0 else path.with_stem(f"{path.stem}.{self.index}")

    def ports(self, port: int) -> Iterator[int]:
        """Those to try, in order: this engine's own, then the next ones. 0 is any free one."""
        first = port + self.index if port else 0
        last = min(first + _MOST_PORTS, _LAST_PORT + 1) if port else 1
        yield from range(first, last)


ONLY_ENGINE = EngineRank()
