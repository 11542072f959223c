"""What a policy would have done, noted by a scheduler that serves in arrival order."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path


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


def encode(decisions: Iterable[ShadowDecision]) -> str:
    """One line of JSON each."""
    return "".join(json.dumps(asdict(decision)) + "\n" for decision in decisions)


def read(path: Path) -> Iterator[ShadowDecision]:
    """The decisions in a file; a last line cut short is left out."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                yield ShadowDecision(**json.loads(line))
