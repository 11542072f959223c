"""Names of policies with some of their parts only, for ablations: ``slotwise[due+newcomers]``."""

from collections.abc import Sequence

from predictor.errors import UnknownPolicyError


def base_of(name: str) -> str:
    """The policy's name without its parts."""
    return name.partition("[")[0]


def parts_on(name: str, known: Sequence[str]) -> dict[str, bool]:
    """Which of the ``known`` parts a name leaves on; without brackets all.

    Raises ``UnknownPolicyError`` for parts that are unknown, named twice, or none.
    """
    base, bracket, rest = name.partition("[")
    if not bracket:
        return dict.fromkeys(known, True)
    on = rest.removesuffix("]").split("+")
    unknown = [part for part in on if part not in known]
    if unknown or len(set(on)) < len(on) or not rest.endswith("]"):
        raise UnknownPolicyError(
            f"unknown parts in policy {name!r}: write {base}[{'+'.join(known)}] with those "
            "parts that are on, each once, at least one"
        )
    return {part: part in on for part in known}


def name_of(base: str, on: dict[str, bool]) -> str:
    """The policy's name; parts are named only where one is off."""
    if all(on.values()):
        return base
    return f"{base}[{'+'.join(part for part, is_on in on.items() if is_on)}]"
