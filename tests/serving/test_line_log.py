"""Records reach the disk behind the engine's back; a disk that refuses costs lines, no more."""

from pathlib import Path

import pytest

from predictor.errors import ConfigError
from serving.line_log import LineLog


def numbers(records):
    return "".join(f"{record}\n" for record in records)


def test_everything_is_there_once_it_is_closed(tmp_path):
    log = LineLog(tmp_path / "log", numbers)
    for number in range(100):
        log.add(number)
    log.close()
    assert (tmp_path / "log").read_text() == numbers(range(100))


def test_a_file_that_cannot_be_is_refused_at_once(tmp_path):
    with pytest.raises(ConfigError, match="no-such-folder/log: No such file"):
        LineLog(tmp_path / "no-such-folder" / "log", numbers)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_is_said_once_and_keeps_nothing(caplog):
    log = LineLog(Path("/dev/full"), numbers)
    for _ in range(2):
        log.add(1)
        log._write()
    log.close()
    assert [record.getMessage() for record in caplog.records] == [
        "/dev/full: No space left on device; its lines are dropped"
    ]
    assert log._pending == []
