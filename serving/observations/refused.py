"""Observations that neither database nor spool can hold, put aside with the reason."""

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from predictor.errors import StoreError
from serving.observations.line_file import LineFile
from serving.observations.observation import Observation

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Refused:
    """A row, and what the database says of it."""

    row: Observation
    why: str


class RefusedFile:
    """JSON lines beside the spool, for somebody to look at; nothing reads them back.

    A full file takes no more; that is logged once.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self._file = LineFile(path, max_bytes=max_bytes)
        self._last_why: str | None = None
        self._failed = False

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self._file.path

    def append(self, refused: Sequence[Refused]) -> None:
        """Keep as many as there is room for. Never raises for a fault of the disk."""
        for each in refused:
            # Not for every row: of one kind there may be one with each request.
            if each.why != self._last_why:
                logger.error("an observation is refused, it goes to %s: %s", self.path, each.why)
            self._last_why = each.why
            try:
                self._file.append(_line(each))
            except StoreError as error:
                if not self._failed:
                    logger.error("%s; observations that are refused are lost", error)
                self._failed = True


def _line(refused: Refused) -> bytes:
    content = {"at_s": time.time(), "why": refused.why, "observation": asdict(refused.row)}
    # By ASCII alone: lone surrogates are among what is refused.
    return json.dumps(content, default=repr).encode("ascii") + b"\n"
