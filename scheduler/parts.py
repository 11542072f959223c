"""Variants of policies, by name.

``slotwise[due+newcomers]`` has some of its parts only, for ablations; ``qoserve@256`` computes at
most 256 tokens a step.
"""

from collections.abc import Sequence

from predictor.errors import UnknownPolicyError


def base_of(name: str) -> str:
    """The policy's name without its parts."""
    return name.partition("[")[0]


def split_limit(name: str) -> tuple[str, int | None]:
    """A name without its step limit, and the limit in tokens; ``None`` without one.

    Raises ``UnknownPolicyError`` for a limit that is no whole number from 1 on.
    """
    rest, at, limit = name.partition("@")
    if not at:
        return name, None
    if not (limit.isascii() and limit.isdigit() and int(limit) > 0):
        raise UnknownPolicyError(
            f"policy {name!r}: its step limit {limit!r} is no number of tokens; write {rest}@256"
        )
    return rest, int(limit)


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
