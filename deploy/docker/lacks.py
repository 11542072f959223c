#!/usr/bin/env python3
"""``lacks.py PACKAGE``: what an installed package, or one that it requires, does not have.

A line each, said before and after an installation: pip warns of what it breaks and goes on.
"""

import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def lacks(package: str) -> list[str]:
    """``A wants B (found: ...)``, sorted; raises ``PackageNotFoundError``."""
    seen, left, faults = set(), [package], []
    while left:
        name = left.pop()
        if name in seen:
            continue
        seen.add(name)
        for each in _needed(name):
            found = _found(each.name)
            if found is not None:
                left.append(canonicalize_name(each.name))
            if found is None or not each.specifier.contains(found, prereleases=True):
                faults.append(f"{name} wants {each} (found: {found})")
    return sorted(faults)


def _needed(package: str) -> Iterator[Requirement]:
    """Without what only an extra wants."""
    for text in requires(package) or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement


def _found(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    for fault in lacks(sys.argv[1]):
        print(fault)
