import numpy as np
import pytest

from scheduler.latency import StepLatency, StepWork
from scheduler.latency_report import FitReport

LATENCY = StepLatency(whole=(0, 0, 0, 0, 0, 0, 0, 0.1))


def test_errors_by_hand():
    steps = np.array([[*StepWork(decodes=1), s] for s in (0.05, 0.1, 0.2, 0.4)])
    report = FitReport.of(LATENCY, steps)
    assert report.steps == 4
    assert report.mae_s == pytest.approx((0.05 + 0.0 + 0.1 + 0.3) / 4)
    assert report.mape == pytest.approx((1.0 + 0.0 + 0.5 + 0.75) / 4)
    assert report.p50_s == pytest.approx(0.075)
    assert report.p99_s == pytest.approx(0.3 - 0.03 * 0.2)
    mean = 0.1875
    spread = sum((s - mean) ** 2 for s in (0.05, 0.1, 0.2, 0.4))
    assert report.r2 == pytest.approx(1 - (0.05**2 + 0.1**2 + 0.3**2) / spread)


def test_an_exact_model_of_equal_steps_explains_them():
    steps = np.array([[*StepWork(decodes=1), 0.1]] * 3)
    assert FitReport.of(LATENCY, steps).r2 == 1.0
    steps[:, -1] = 0.2
    assert FitReport.of(LATENCY, steps).r2 == 0.0
