"""Much work on an event loop, in pieces that let others have their turn."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")

# Some milliseconds of the work that is done for each.
_AT_ONCE = 32


async def in_turns(items: Sequence[Item]) -> AsyncIterator[Sequence[Item]]:
    """A few of the items at a time; between them the loop does what else waits."""
    for first in range(0, len(items), _AT_ONCE):
        yield items[first : first + _AT_ONCE]
        await asyncio.sleep(0)
