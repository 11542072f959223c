"""Which parts of SlidingServe are on: for ablations."""

from dataclasses import asdict, dataclass, fields
from typing import ClassVar

from scheduler.parts import name_of, parts_on


@dataclass(frozen=True, slots=True)
class SlidingParts:
    """Without the sorter deadlines order, without the chunker the budget is fixed.

    Without both and the constructor it is ``sarathi-edf``, over running prefills as well.
    """

    base: ClassVar[str] = "slidingserve"

    chunker: bool = True
    sorter: bool = True
    constructor: bool = True

    @property
    def name(self) -> str:
        """The policy's name."""
        return name_of(self.base, asdict(self))

    @classmethod
    def parse(cls, name: str) -> "SlidingParts":
        """Read ``slidingserve[chunker+sorter]``; raises ``UnknownPolicyError``."""
        return cls(**parts_on(name, [field.name for field in fields(cls)]))
