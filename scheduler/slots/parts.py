"""Which parts of the step construction of ``slotwise`` are on: for ablations."""

from dataclasses import asdict, dataclass, fields
from typing import ClassVar

from scheduler.parts import name_of, parts_on


@dataclass(frozen=True, slots=True)
class SlotParts:
    """Without ``due`` prompts are computed in the plan's order; without ``newcomers`` nobody is
    expected; without ``reserve`` an answer may never fall behind.
    """

    base: ClassVar[str] = "slotwise"

    due: bool = True
    newcomers: bool = True
    reserve: bool = True

    @property
    def name(self) -> str:
        """The policy's name."""
        return name_of(self.base, asdict(self))

    @classmethod
    def parse(cls, name: str) -> "SlotParts":
        """Read ``slotwise[due+newcomers]``; raises ``UnknownPolicyError``."""
        return cls(**parts_on(name, [field.name for field in fields(cls)]))
