"""Several runs of each policy in one result document: means, and 95 % intervals of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import t as student

from serving.bench.records import PolicyRun
from serving.report.summary import Figures, policy_figures, result_document

_CONFIDENCE = 0.95


def seeds_document(config: Mapping[str, Any], runs: Mapping[str, Sequence[PolicyRun]]) -> Figures:
    """:func:`result_document` with each figure the mean over a policy's runs.

    With several runs ``interval_95`` beside the figures of a policy, and of each class, holds
    ``[low, high]`` of Student's t. Requests and queue are those of the first run.
    """
    document = result_document(config, [of_policy[0] for of_policy in runs.values()])
    for name, of_policy in runs.items():
        document["policies"][name] = combined([policy_figures(run) for run in of_policy])
    return document


def combined(figures: Sequence[Figures]) -> Figures:
    """Means of equal figures, with their intervals where there is more than one."""
    mean = _mean(figures)
    if len(figures) > 1:
        mean["interval_95"] = _intervals(figures)
        for name, of_class in mean.get("classes", {}).items():
            of_class["interval_95"] = _intervals([one["classes"][name] for one in figures])
    return mean


def interval(values: Sequence[float]) -> list[float]:
    """The 95 % interval of the mean of some independent values, at least two."""
    sample = np.asarray(values, dtype=np.float64)
    half = student.ppf((1 + _CONFIDENCE) / 2, len(sample) - 1) * sample.std(ddof=1)
    half /= np.sqrt(len(sample))
    return [float(sample.mean() - half), float(sample.mean() + half)]


def _mean(figures: Sequence[Mapping[str, Any]]) -> Figures:
    return {key: _mean_value([one.get(key) for one in figures]) for key in figures[0]}


def _mean_value(values: Sequence[Any]) -> Any:
    first = values[0]
    if isinstance(first, Mapping):
        return _mean([value for value in values if isinstance(value, Mapping)])
    if isinstance(first, bool | str) or not all(isinstance(v, int | float) for v in values):
        return first if all(value == first for value in values) else None
    if all(isinstance(value, int) and value == first for value in values):
        return first
    return float(np.mean(values))


def _intervals(figures: Sequence[Figures]) -> dict[str, list[float]]:
    found = {}
    for key, first in figures[0].items():
        values = [one[key] for one in figures]
        counted = isinstance(first, int) and len(set(values)) == 1  # the same in every run
        if all(map(_number, values)) and not counted:
            found[key] = interval(values)
    return found


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
