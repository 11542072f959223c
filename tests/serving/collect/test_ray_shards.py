"""Shards: written whole, joined to what one machine would have written, kept from other runs."""

import gzip

import pytest

from predictor.errors import DatasetError, InputError
from serving.collect.gathering import Answer, Gathering
from serving.collect.lengths import Asked, CollectSettings, Row, kept_rows, write_rows
from serving.collect.shards import Shards

SETTINGS = CollectSettings(base_url="", model="m", samples=2, max_tokens=8)
PROMPTS = [Asked(f"p{n}", f"prompt {n}") for n in range(5)]


@pytest.fixture
def shards(tmp_path):
    return Shards(tmp_path / "lengths.csv.gz", SETTINGS)


def rows_of(*numbers):
    return {f"p{n}": Row(f"p{n}", 3, (n + 1, 8)) for n in numbers}


def answer_all(gathering, prompts, *, error=""):
    for asked in prompts:
        for sample in (1, 2):
            gathering.take(Answer(asked.id, 3, sample, error))


def files(shards):
    return sorted(file.name for file in shards.folder.glob("*.csv.gz"))


def test_joined_shards_are_the_bytes_of_a_single_machine(shards, tmp_path):
    with shards.locked():
        shards.write(1, rows_of(3, 0))
        shards.write(0, rows_of(2, 1, 4))
        shards.join()
    write_rows(tmp_path / "single.csv.gz", rows_of(0, 1, 2, 3, 4), SETTINGS)
    assert shards.output.read_bytes() == (tmp_path / "single.csv.gz").read_bytes()
    assert not shards.folder.exists()


def test_joining_adds_to_what_a_single_machine_left(shards):
    write_rows(shards.output, rows_of(0), SETTINGS)
    shards.write(0, rows_of(1))
    assert shards.join() == rows_of(0, 1)
    assert kept_rows(shards.output, SETTINGS) == rows_of(0, 1)


def test_with_nothing_to_join_nothing_is_written(shards):
    with shards.locked():
        assert shards.join() == {}
    assert list(shards.output.parent.iterdir()) == []


def test_shards_of_other_settings_are_refused(shards):
    shards.write(0, rows_of(0))
    other = Shards(shards.output, CollectSettings(base_url="", model="other"))
    with pytest.raises(DatasetError, match="other settings"):
        other.join()
    assert files(shards) == ["000000.csv.gz"]


def test_a_prompt_with_too_few_samples_is_no_row(shards):
    shards.write(0, {"p0": Row("p0", 3, (1,)), **rows_of(1)})
    assert shards.rows() == rows_of(1)


def test_a_damaged_shard_is_told(shards):
    shards.write(0, rows_of(0))
    shards.write(1, rows_of(1))
    damaged = shards.folder / "000001.csv.gz"
    damaged.write_bytes(damaged.read_bytes()[:20])
    with pytest.raises(DatasetError, match="000001"):
        shards.join()


def test_two_runs_do_not_write_one_output(shards):
    with shards.locked(), pytest.raises(InputError, match="another run"), shards.locked():
        pass


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    nowhere = Shards(tmp_path / "file/lengths.csv.gz", SETTINGS)
    with pytest.raises(InputError, match="can be written"), nowhere.locked():
        pass


def test_a_shard_is_written_when_its_last_prompt_is_answered(shards):
    gathering = Gathering(shards, PROMPTS, size=2)
    answer_all(gathering, [PROMPTS[0], PROMPTS[2], PROMPTS[3]])
    assert files(shards) == ["000001.csv.gz"]
    answer_all(gathering, [PROMPTS[4], PROMPTS[1]])
    assert files(shards) == ["000000.csv.gz", "000001.csv.gz", "000002.csv.gz"]
    content = gzip.decompress((shards.folder / "000000.csv.gz").read_bytes()).decode()
    assert content.splitlines()[1:] == ["p0,m,3,1 2,1.0,1.0,8", "p1,m,3,1 2,1.0,1.0,8"]


def test_a_prompt_is_done_with_its_last_sample(shards):
    gathering = Gathering(shards, PROMPTS, size=9)
    taken = [gathering.take(Answer("p0", 3, 1)) for _ in range(4)]
    assert taken == [False, True, False, False]  # the last came of a task that was repeated


def test_what_is_complete_of_an_open_shard_is_kept(shards):
    gathering = Gathering(shards, PROMPTS, size=5)
    answer_all(gathering, PROMPTS[:2])
    gathering.take(Answer("p2", 3, 1))
    assert files(shards) == []
    gathering.keep()
    assert set(shards.rows()) == {"p0", "p1"}


def test_a_prompt_that_failed_is_told_and_holds_nothing_up(shards):
    gathering = Gathering(shards, PROMPTS, size=2)
    answer_all(gathering, PROMPTS[:1])
    gathering.take(Answer("p1", 3, 1))
    gathering.take(Answer("p1", 0, 0, "too long"))
    assert gathering.failed == {"p1": "too long"}
    assert set(shards.rows()) == {"p0"}
    answer_all(gathering, PROMPTS[2:4], error="no")
    assert files(shards) == ["000000.csv.gz"]  # one without any row is none
