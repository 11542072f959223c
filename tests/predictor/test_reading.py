import logging

import pytest

from predictor.errors import DatasetError
from predictor.reading import ReadReport, SkippedItemError, Tally


def positive(value):
    if value < 0:
        raise SkippedItemError("negative", value)
    return value


def numbered(*values):
    return [(f"line {number}", value) for number, value in enumerate(values, start=1)]


def test_what_cannot_be_used_is_counted_by_reason_with_the_first_place():
    tally = Tally("f.csv")
    items = numbered(1, -2, SkippedItemError("not UTF-8"), -4, 5)
    assert list(tally.used(items, positive)) == [1, 5]
    report = tally.close("expected numbers")
    assert (report.read, report.usable) == (5, 2)
    assert report.skipped == {"negative": 2, "not UTF-8": 1}
    assert str(report) == (
        "f.csv: 2 of 5 rows are used; left out: 2 x negative (line 2: -2), 1 x not UTF-8 (line 3)"
    )


def test_each_has_the_reason_in_the_place_of_a_skipped_item():
    found = list(Tally("f").each(numbered(1, -2, 3), positive))
    assert (found[0], found[2]) == (1, 3)
    assert str(found[1]) == "negative: -2"


def test_nothing_left_is_the_only_error():
    tally = Tally("f.csv", item="prompt")
    assert not list(tally.used(numbered(-1, -1), positive))
    with pytest.raises(DatasetError, match=r"f\.csv: none of 2 prompts .*2 x negative.*expected x"):
        tally.close("expected x")
    with pytest.raises(DatasetError, match="f: holds no prompt"):
        Tally("f", item="prompt").close("expected x")


def test_a_report_is_said_once_and_only_where_there_is_something_to_say(caplog):
    whole, odd = Tally("whole"), Tally("odd")
    list(whole.used(numbered(1), positive))
    list(odd.used(numbered(1, -1), positive))
    with caplog.at_level(logging.WARNING):
        whole.close("")
        odd.close("")
    assert [record.getMessage() for record in caplog.records] == [
        "odd: 1 of 2 rows are used; left out: 1 x negative (line 2: -1)"
    ]


def test_notes_and_a_cut_end_are_said():
    report = ReadReport("f", "row", 2, 2, notes=("1 row moved",), cut_end=True)
    assert str(report) == "f: 2 of 2 rows are used; its end is cut; 1 row moved"


def test_details_are_printable_and_short():
    why = SkippedItemError("odd", "\n" * 500)
    assert "\n" not in str(why)
    assert len(str(why)) < 100
