from dataclasses import replace

import pytest

from predictor.errors import DatasetError
from serving import shadowlog
from serving.shadowlog import ShadowDecision

DECISION = ShadowDecision(1.5, ["b", "a"], ["a", "b"], [], ["a"], None)


@pytest.fixture
def log(tmp_path):
    file = tmp_path / "shadow.jsonl"

    def read(content):
        file.write_text(content)
        return list(shadowlog.read(file))

    return read


@pytest.mark.parametrize(
    "broken", ["{oops", "[1]", '{"at_s": 1}', "\x00", "[" * 9000, '{"order": null}']
)
def test_a_broken_line_costs_that_line_alone(log, caplog, broken):
    later = replace(DECISION, at_s=2.5)
    first, last = shadowlog.encode([DECISION]), shadowlog.encode([later])
    assert log(f"{first}{broken}\n{last}") == [DECISION, later]
    assert "2 of 3 decisions are used; left out: 1 x not" in caplog.text


def test_lists_that_are_none(log, caplog):
    text = shadowlog.encode([DECISION])
    assert log(text + text.replace('["b", "a"]', "7")) == [DECISION]
    assert "1 x holds no lists of request ids" in caplog.text


def test_a_last_line_cut_short_is_left_out(log, caplog):
    assert log(shadowlog.encode([DECISION, DECISION])[:-9]) == [DECISION]
    assert not caplog.text


def test_an_empty_log(log):
    assert log("") == []


def test_a_log_of_something_else(log):
    with pytest.raises(DatasetError, match=r"none of 1 decisions.*not of this version"):
        log("{}\n")
