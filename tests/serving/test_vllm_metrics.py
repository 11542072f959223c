"""The scheduler's metrics over HTTP."""

import socket

import httpx
import pytest

from predictor.distribution import LengthDistribution
from scheduler.blocked import Blocked
from scheduler.driver import Driver
from scheduler.latency import StepLatency, StepWork
from scheduler.registry import create_policy
from scheduler.slo import Slo
from scheduler.snapshot import Limits
from scheduler.tracker import Arrival
from serving.engine_rank import EngineRank
from serving.vllm_metrics import EngineMetrics


@pytest.fixture
def driver():
    limits = Limits(4, 512, 10_000)
    # The first decision may have to compile.
    return Driver(policy=create_policy("fcfs"), limits=limits, time_box_s=600.0)


def read(port):
    text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    return {
        name: float(value)
        for line in text.splitlines()
        if not line.startswith("#")
        for name, value in [line.replace('{engine="0"}', "").split()]
    }


def test_whether_the_latency_model_is_trained_can_be_read(driver):
    metrics = EngineMetrics(driver, host="127.0.0.1", port=0)
    try:
        driver.decide(now_s=0.0)
        before = read(metrics.port)
        truth = StepLatency.linear(step_s=0.01, decode_s=1e-3)
        for answers in range(1, 200):
            work = StepWork(decodes=float(1 + answers % 7), decode_cached=100.0 * answers)
            driver.observe_step(work, truth.seconds(work))
        driver.decide(now_s=1.0)
        after = read(metrics.port)
        port = metrics.port
    finally:
        metrics.close()
    assert before["slotwise_latency_model_trained"] == 0
    assert before["slotwise_untrained_steps_total"] == 1
    assert after["slotwise_latency_model_trained"] == 1
    assert after["slotwise_untrained_steps_total"] == 1
    assert after["slotwise_policy_fallbacks_total"] == 0
    assert after["slotwise_engine_requests"] == 0
    with pytest.raises(httpx.ConnectError):
        read(port)


def test_who_is_blocked_and_what_was_mended_can_be_read(driver):
    tracker = driver.tracker
    for name in "abc":
        lengths = LengthDistribution.point(3)
        tracker.arrived(Arrival(name, 0.0, 10, 3, Slo(), lengths), blocked=Blocked.GRAMMAR)
    tracker.unblocked("a")
    tracker.closed = Blocked.PAUSED
    tracker.disagreements += 2
    metrics = EngineMetrics(driver, host="127.0.0.1", port=0)
    try:
        found = read(metrics.port)
    finally:
        metrics.close()
    assert found['slotwise_blocked_requests{engine="0",reason="grammar"}'] == 2
    assert found['slotwise_blocked_requests{engine="0",reason="paused"}'] == 1
    assert found['slotwise_blocked_requests{engine="0",reason="kv"}'] == 0
    assert found["slotwise_mended_requests_total"] == 2


@pytest.fixture
def taken():
    """A port that somebody else listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_of_a_port_in_use_the_next_free_one_stands_in(driver, taken, caplog):
    metrics = EngineMetrics(driver, host="127.0.0.1", port=taken)
    try:
        assert taken < metrics.port <= taken + 64
        assert read(metrics.port)["slotwise_engine_requests"] == 0
        assert f"port {taken} of 127.0.0.1 is taken" in caplog.text
        assert f"are on port {metrics.port}" in caplog.text
    finally:
        metrics.close()


def test_every_engine_of_a_server_has_metrics_under_its_rank(driver):
    """All are given the same port; the third is the one with a request."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    engines = [
        EngineMetrics(driver, host="127.0.0.1", port=port, rank=EngineRank(rank))
        for rank in range(3)
    ]
    try:
        assert len({metrics.port for metrics in engines}) == 3
        for rank, metrics in enumerate(engines):
            text = httpx.get(f"http://127.0.0.1:{metrics.port}/metrics").text
            assert f'slotwise_engine_requests{{engine="{rank}"}} 0.0' in text
            assert f'slotwise_policy_fallbacks_total{{engine="{rank}"}} 0.0' in text
    finally:
        for metrics in engines:
            metrics.close()


def test_an_address_that_cannot_be_had_costs_the_metrics_and_not_the_engine(driver, caplog):
    metrics = EngineMetrics(driver, host="192.0.2.1", port=9400)
    assert metrics.port is None
    assert "192.0.2.1" in caplog.text
    assert "SLOTWISE_ENGINE_METRICS_HOST" in caplog.text
    metrics.close()
