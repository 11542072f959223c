"""Queue depth over time, from the step log."""

from collections.abc import Sequence

import numpy as np

from serving.steplog import StepRecord

MAX_POINTS = 600
"""Points that ``depth_over_time`` returns at most."""

Point = list[float]


def mean_depth(steps: Sequence[StepRecord]) -> float | None:
    """Return the waiting requests averaged over time; each step holds until the next begins."""
    if not steps:
        return None
    waiting = np.array([step.waiting for step in steps], dtype=np.float64)
    held_s = np.diff([step.at_s for step in steps]).clip(min=0.0)
    total_s = float(held_s.sum())
    if total_s == 0:
        return float(waiting.mean())
    return float(waiting[:-1] @ held_s / total_s)


def depth_over_time(steps: Sequence[StepRecord]) -> list[Point]:
    """Return ``[seconds since the first step, waiting, running]`` for up to ``MAX_POINTS`` steps.

    The first and the last step always stay; of each stretch between them stays the step with
    the deepest queue, so that a peak survives.
    """
    if len(steps) > MAX_POINTS:
        stretches = np.array_split(np.arange(1, len(steps) - 1), MAX_POINTS - 2)
        peaks = [max(stretch, key=lambda i: steps[i].waiting) for stretch in stretches]
        steps = [steps[0], *(steps[i] for i in peaks), steps[-1]]
    return [[round(step.at_s - steps[0].at_s, 4), step.waiting, step.running] for step in steps]
