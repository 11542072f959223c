"""Files that wrap their records in one object: ``{"data": [...]}``, ``{"rows": [...]}``."""

from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice

from predictor.reading import SkippedItemError
from training.records import Placed


def unwrapped(records: Iterator[Placed], parse: Callable[[object], object]) -> Iterator[Placed]:
    """The records; those inside, where the only one is no record but holds one list of them.

    ``parse`` raises ``SkippedItemError`` for what is no record.
    """
    head = list(islice(records, 2))
    # What follows a whole object in a file whose end is cut is no record either.
    alone = len(head) == 1 or (len(head) == 2 and isinstance(head[1][1], SkippedItemError))
    inside = _inside(head[0][1], parse) if alone else None
    if inside is None:
        return chain(head, records)
    listed = ((f"record {number}", record) for number, record in enumerate(inside, start=1))
    return chain(listed, head[1:], records)


def _inside(record: object, parse: Callable[[object], object]) -> list[object] | None:
    """The one list of records in an object that is none itself."""
    if not isinstance(record, Mapping) or _is_record(record, parse):
        return None
    lists = [value for value in record.values() if isinstance(value, list)]
    found = [items for items in lists if any(_is_record(item, parse) for item in items)]
    return found[0] if len(found) == 1 else None


def _is_record(item: object, parse: Callable[[object], object]) -> bool:
    # A text inside an object may be anything.
    if not isinstance(item, Mapping | list):
        return False
    try:
        parse(item)
    except SkippedItemError:
        return False
    return True
