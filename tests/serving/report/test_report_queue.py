from typing import Any

import pytest

from serving.report.queue import MAX_POINTS, depth_over_time, mean_depth


def test_mean_depth_weighs_by_time(make: Any) -> None:
    steps = [make.step(10.0, 8), make.step(11.0, 0), make.step(14.0, 5)]
    assert mean_depth(steps) == pytest.approx(2.0)


def test_mean_depth_without_time(make: Any) -> None:
    assert mean_depth([]) is None
    assert mean_depth([make.step(10.0, 3)]) == 3.0
    assert mean_depth([make.step(10.0, 3), make.step(10.0, 5)]) == 4.0


def test_few_steps_stay_as_they_are(make: Any) -> None:
    steps = [make.step(1.7e9, 2, running=3), make.step(1.7e9 + 0.25, 1, running=4)]
    assert depth_over_time(steps) == [[0.0, 2, 3], [0.25, 1, 4]]


@pytest.mark.parametrize("count", [MAX_POINTS, MAX_POINTS + 1, 10_000])
def test_long_logs_keep_ends_and_peak(make: Any, count: int) -> None:
    peak = count * 2 // 3
    steps = [make.step(i, 999 if i == peak else i % 7) for i in range(count)]
    points = depth_over_time(steps)
    times = [point[0] for point in points]
    assert len(points) == MAX_POINTS
    assert [times[0], times[-1]] == [0.0, count - 1]
    assert times == sorted(times)
    assert [peak, 999, 1] in points
