"""Engines with one environment have files and ports of their own."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from serving.digest_file import write_report
from serving.engine_rank import EngineRank


@pytest.mark.parametrize(
    ("name", "second"), [("steps.jsonl", "steps.1.jsonl"), ("digest", "digest.1")]
)
def test_files_are_named_by_rank(name, second):
    path = Path("/logs", name)
    assert EngineRank(0).file(path) == path
    assert EngineRank(1).file(path) == path.with_name(second)


def test_ports_begin_at_the_rank_and_end_at_the_last_one():
    assert next(EngineRank(0).ports(9400)) == 9400
    assert next(EngineRank(3).ports(9400)) == 9403
    assert list(EngineRank(1).ports(65_533)) == [65_534, 65_535]
    assert list(EngineRank(1).ports(65_535)) == []
    assert list(EngineRank(5).ports(0)) == [0]


def test_an_engine_of_a_dense_model_is_known_by_its_index():
    """vLLM resets the rank of each to 0."""
    parallel = SimpleNamespace(data_parallel_rank=0, data_parallel_index=2)
    assert EngineRank.of(SimpleNamespace(parallel_config=parallel)).index == 2
    old = SimpleNamespace(data_parallel_rank=1)
    assert EngineRank.of(SimpleNamespace(parallel_config=old)).index == 1


def test_reports_of_two_engines_do_not_meet_while_they_are_written(tmp_path, monkeypatch):
    """Each is written beside its file first, under a name that no other engine uses."""
    seen = []
    monkeypatch.setattr(Path, "replace", lambda fresh, _: seen.append(fresh))
    report = SimpleNamespace(to_bytes=lambda: b"")
    for rank in range(3):
        write_report(EngineRank(rank).file(tmp_path / "digest"), report)
    assert len(set(seen)) == 3
