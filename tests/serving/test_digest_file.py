import numpy as np
import pytest

from predictor.distribution import LengthDistribution
from predictor.errors import InputError
from scheduler.driver import Driver
from scheduler.latency import StepLatency
from scheduler.placement.digest import SIZE, Digest, Item
from scheduler.registry import create_policy
from scheduler.slo import Slo
from scheduler.snapshot import Limits
from scheduler.tracker import Arrival
from serving.digest_file import EngineReport, read_report, write_report
from serving.digest_writer import DigestWriter


def driver(latency=None):
    found = Driver(
        policy=create_policy("fcfs"), limits=Limits(2, 512, 1000), latency=latency, time_box_s=1.0
    )
    found.tracker.arrived(Arrival("a", 0.0, 10, 100, Slo(e2e_s=9.0), LengthDistribution.point(50)))
    return found


def test_there_and_back(tmp_path):
    path = tmp_path / "digest"
    assert read_report(path) is None
    report = EngineReport(7, 3, 2, Digest(np.arange(SIZE, dtype=np.float64)))
    write_report(path, report)
    found = read_report(path)
    assert (found.serial, found.untrained, found.fallbacks) == (7, 3, 2)
    np.testing.assert_array_equal(found.digest.values, report.digest.values)


@pytest.mark.parametrize("raw", [b"", b"short", b"x" * 24, b"x" * 401])
def test_what_is_none_is_refused(tmp_path, raw):
    path = tmp_path / "digest"
    path.write_bytes(raw)
    with pytest.raises(InputError, match="release"):
        read_report(path)


def test_an_engine_reports_at_its_period(tmp_path):
    path = tmp_path / "digest"
    writer, engine = DigestWriter(path, 0.1), driver(StepLatency.linear(step_s=0.05))
    for step in range(100):
        writer.look(engine, now_s=0.011 * step, kv_tokens_free=600)
    found = read_report(path)
    assert found.serial == 10
    assert found.digest.values[Item.LIVE] == 1
    assert found.digest.values[Item.KV_FREE] == 600


def test_before_it_knows_its_step_times_it_says_nothing(tmp_path):
    writer = DigestWriter(tmp_path / "digest", 0.1)
    writer.look(driver(), now_s=0.0, kv_tokens_free=600)
    assert read_report(tmp_path / "digest") is None


def test_a_disk_that_takes_nothing_stops_no_engine(tmp_path, caplog):
    writer = DigestWriter(tmp_path / "missing" / "digest", 0.1)
    engine = driver(StepLatency.linear(step_s=0.05))
    for step in range(3):
        writer.look(engine, now_s=float(step), kv_tokens_free=600)
    assert caplog.text.count("no digests for routers") == 1


def test_no_fault_stops_an_engine_and_none_is_taken_for_a_hang(tmp_path, monkeypatch, caplog):
    path = tmp_path / "digest"
    writer, engine = DigestWriter(path, 0.1), driver(StepLatency.linear(step_s=0.05))
    writer.look(engine, now_s=0.0, kv_tokens_free=600)
    monkeypatch.setattr("serving.digest_writer.Digest.of", lambda _: 1 / 0)
    writer.look(engine, now_s=1.0, kv_tokens_free=600)
    assert "ZeroDivisionError" in caplog.text
    assert read_report(path) is None
