"""Which records are pieces of one conversation, by their ids.

The ShareGPT files cut long conversations into ``base_0``, ``base_14``, ...: the number is that of
the piece's first turn. In other files the same form is a name and a counter (``identity_17``).
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

_PIECE = re.compile(r"(.+)_(0|[1-9]\d*)")
# Of one conversation there are so few pieces: in number, or as a share of all records.
_FEW = 10
_FEW_SHARE = 0.01
# A conversation of more pieces shows by different steps from one piece to the next.
_LEAST_STEPS = 3


def base_ids(ids: Sequence[str], turns: Sequence[int]) -> list[str]:
    """For each record the id that all pieces of its conversation share, else its own.

    ``turns`` is how many turns each record has. What stands before the number is a conversation's
    id where it is rare, or where the numbers advance by the turns between them.
    """
    groups: dict[str, list[tuple[int, int]]] = defaultdict(list)
    parts = [_PIECE.fullmatch(name) for name in ids]
    for part, size in zip(parts, turns, strict=True):
        if part is not None:
            groups[part[1]].append((int(part[2]), size))
    few = max(_FEW, int(_FEW_SHARE * len(ids)))
    cut = {base for base, group in groups.items() if len(group) <= few or _advances(group)}
    return [
        part[1] if part is not None and part[1] in cut else name
        for name, part in zip(ids, parts, strict=True)
    ]


def _advances(group: Sequence[tuple[int, int]]) -> bool:
    """Whether each piece begins where the one before ended (pieces may share a turn)."""
    ordered = sorted(group)
    steps = [later - first for (first, _), (later, _) in pairwise(ordered)]
    sizes = [size for _, size in ordered]
    fits = all(step in (size, size - 1) for step, size in zip(steps, sizes, strict=False))
    return fits and len(set(steps)) >= _LEAST_STEPS
