"""One rule for all readers: skip what cannot be used, count it by reason, report it once.

A reader raises :class:`SkippedItemError` for an item that it cannot use and runs its items through
:meth:`Tally.used`. Only a source of which nothing is left is an error.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from predictor.errors import DatasetError

logger = logging.getLogger(__name__)

Raw = TypeVar("Raw")
Item = TypeVar("Item")

_SHOWN = 60


class SkippedItemError(ValueError):
    """Why one item of a source is left out.

    ``reason`` is one of few, for counting; ``detail`` is what this item holds.
    """

    def __init__(self, reason: str, detail: object = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = "" if detail is None else shown(detail)

    def __str__(self) -> str:
        """The reason with what the item holds."""
        return f"{self.reason}: {self.detail}" if self.detail else self.reason

    def at(self, place: str) -> str:
        """The place in the source, with what stands there."""
        return f"{place}: {self.detail}" if self.detail else place


@dataclass(frozen=True, slots=True)
class ReadReport:
    """What came of a source: items read, used, and left out by reason.

    ``first`` says for each reason where it was met first; ``notes`` are remarks on what was used.
    ``cut_end``: the last item was incomplete. ``sha256`` is that of the whole content, where known.
    """

    path: str
    item: str
    read: int
    usable: int
    skipped: Mapping[str, int] = field(default_factory=dict)
    first: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    cut_end: bool = False
    sha256: str = ""

    def __str__(self) -> str:
        """One line for people."""
        said = f"{self.path}: {self.usable} of {self.read} {self.item}s are used"
        if self.skipped:
            said += f"; left out: {self.reasons()}"
        cut = ("its end is cut",) if self.cut_end else ()
        return "; ".join((said, *cut, *self.notes))

    def reasons(self) -> str:
        """How many were left out for each reason, the most frequent first."""
        counts = sorted(self.skipped.items(), key=lambda entry: -entry[1])
        return ", ".join(f"{count} x {reason}{self._where(reason)}" for reason, count in counts)

    def _where(self, reason: str) -> str:
        return f" ({self.first[reason]})" if reason in self.first else ""

    def say(self) -> None:
        """Log it as a warning where something was left out or changed."""
        if self.skipped or self.notes or self.cut_end:
            logger.warning("%s", self)


@dataclass(slots=True)
class Tally:
    """Counts the items of one source while they are read."""

    path: str
    item: str = "row"
    read: int = 0
    _usable: int = 0
    _skipped: Counter[str] = field(default_factory=Counter)
    _first: dict[str, str] = field(default_factory=dict)
    _notes: list[str] = field(default_factory=list)

    def used(
        self, items: Iterable[tuple[str, Raw | SkippedItemError]], parse: Callable[[Raw], Item]
    ) -> Iterator[Item]:
        """What ``parse`` makes of each item, given with its place; skipped ones are counted."""
        for found in self.each(items, parse):
            if not isinstance(found, SkippedItemError):
                yield found

    def each(
        self, items: Iterable[tuple[str, Raw | SkippedItemError]], parse: Callable[[Raw], Item]
    ) -> Iterator[Item | SkippedItemError]:
        """The same with the reason in the place of each skipped item.

        An item that could not even be decoded comes as the reason why.
        """
        for place, raw in items:
            self.read += 1
            try:
                if isinstance(raw, SkippedItemError):
                    raise raw
                found = parse(raw)
            except SkippedItemError as why:
                self._skipped[why.reason] += 1
                self._first.setdefault(why.reason, why.at(place))
                yield why
            else:
                self._usable += 1
                yield found

    def note(self, remark: str) -> None:
        """Add a remark to the report."""
        self._notes.append(remark)

    def close(
        self, expected: str, *, say: bool = True, cut_end: bool = False, sha256: str = ""
    ) -> ReadReport:
        """The report, logged once; raises ``DatasetError`` where nothing is left.

        ``expected`` tells what the source should hold.
        """
        report = ReadReport(
            path=self.path,
            item=self.item,
            read=self.read,
            usable=self._usable,
            skipped=dict(self._skipped),
            first=dict(self._first),
            notes=tuple(self._notes),
            cut_end=cut_end,
            sha256=sha256,
        )
        if not report.usable:
            found = f"none of {report.read} {self.item}s can be used: {report.reasons()}"
            what = found if report.read else f"holds no {self.item}"
            raise DatasetError(f"{self.path}: {what}; {expected}")
        if say:
            report.say()
        return report


def shown(value: object) -> str:
    """A value of an input for a message: printable, on one line, not longer than it helps."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
