"""The scheduler's metrics over HTTP."""

import socket

import httpx
import pytest

from scheduler.driver import Driver
from scheduler.latency import StepLatency, StepWork
from scheduler.registry import create_policy
from scheduler.snapshot import Limits
from serving.vllm_metrics import EngineMetrics


@pytest.fixture
def driver():
    return Driver(policy=create_policy("fcfs"), limits=Limits(4, 512, 10_000))


def read(port):
    text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    return {
        name: float(value)
        for line in text.splitlines()
        if not line.startswith("#")
        for name, value in [line.split()]
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


def test_a_port_in_use_costs_the_metrics_and_not_the_engine(driver, caplog):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        metrics = EngineMetrics(driver, host="127.0.0.1", port=port)
    assert metrics.port is None
    assert str(port) in caplog.text
    assert "SLOTWISE_ENGINE_METRICS_PORT" in caplog.text
    metrics.close()
