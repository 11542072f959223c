"""What a policy would have done, noted by a scheduler that serves in arrival order."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from predictor.reading import SkippedItemError
from serving.line_log import read_lines


@dataclass(frozen=True, slots=True)
class ShadowDecision:
    """One decision that was not followed, by request ids.

    ``order`` is who would have waited in which place, ``arrival`` how they did; ``preempt`` who
    would have lost a slot, ``held`` who would not have been let in; ``token_budget`` of the step.
    """

    at_s: float
    order: list[str]
    arrival: list[str]
    preempt: list[str]
    held: list[str]
    token_budget: int | None

    @property
    def differs(self) -> bool:
        """Whether anything would have been otherwise."""
        return bool(self.preempt or self.held) or self.order != self.arrival


_NAMES = {field.name for field in fields(ShadowDecision)}
_LISTS = ("order", "arrival", "preempt", "held")


def encode(decisions: Iterable[ShadowDecision]) -> str:
    """One line of JSON each."""
    return "".join(json.dumps(asdict(decision)) + "\n" for decision in decisions)


def read(path: Path) -> Iterator[ShadowDecision]:
    """The decisions in a file; a last line cut short is left out.

    Other lines that are no decision are left out and counted. Raises ``DatasetError`` where none
    is left.
    """
    yield from read_lines(path, _decision, item="decision")


def _decision(line: bytes) -> ShadowDecision:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SkippedItemError("not JSON", line) from error
    if not isinstance(values, dict) or values.keys() != _NAMES:
        raise SkippedItemError("not of this version", values)
    lists = (values[name] for name in _LISTS)
    if not all(isinstance(ids, list) and all(isinstance(k, str) for k in ids) for ids in lists):
        raise SkippedItemError("holds no lists of request ids", values)
    return ShadowDecision(**values)
