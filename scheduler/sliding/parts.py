"""Which parts of SlidingServe are on: for ablations."""

from dataclasses import dataclass

from predictor.errors import UnknownPolicyError

_NAME = "slidingserve"
_PARTS = ("chunker", "sorter", "constructor")


@dataclass(frozen=True, slots=True)
class SlidingParts:
    """Without the sorter deadlines order, without the chunker the budget is fixed.

    Without both and the constructor it is ``sarathi-edf``, over running prefills as well.
    """

    chunker: bool = True
    sorter: bool = True
    constructor: bool = True

    @property
    def name(self) -> str:
        """The policy's name; parts are named only where one is off."""
        on = [part for part in _PARTS if getattr(self, part)]
        return _NAME if len(on) == len(_PARTS) else f"{_NAME}[{'+'.join(on)}]"

    @classmethod
    def parse(cls, name: str) -> "SlidingParts":
        """Read ``slidingserve[chunker+sorter]``; raises ``UnknownPolicyError``."""
        if name == _NAME:
            return cls()
        on = name.removeprefix(f"{_NAME}[").removesuffix("]").split("+")
        unknown = [part for part in on if part not in _PARTS]
        if unknown or len(set(on)) < len(on) or not name.endswith("]"):
            raise UnknownPolicyError(
                f"unknown parts in policy {name!r}: write {_NAME}[{'+'.join(_PARTS)}] with those "
                "parts that are on, each once, at least one"
            )
        return cls(**{part: part in on for part in _PARTS})


def is_sliding(name: str) -> bool:
    """Whether a name means SlidingServe, whole or in parts."""
    return name == _NAME or name.startswith(f"{_NAME}[")
