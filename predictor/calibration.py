"""Corrects forecast probabilities by how often they held on data not trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from predictor.errors import DistributionError
from predictor.prompt import Prompt

Floats = NDArray[np.float64]

# Forecasts that are too sure put many answers into their last percents: knots lie close there.
_TAIL = (0.002, 0.005, 0.01, 0.02, 0.03)
_KNOTS = 19 + 2 * len(_TAIL) + 2
# Weight of the uncorrected forecast, counted in validation samples: few samples correct little.
_PRIOR_SAMPLES = 50.0
# A group of fewer samples shares the calibration of the group around it.
_FEWEST = 200
_SEPARATOR = "\n"


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """A rising map from forecast CDF values to observed ones, linear between 31 knots.

    ``observed`` is float64[31], from 0 to 1; the knots' forecasts are 0, 0.002, ..., 0.03, then
    0.05, 0.1, ..., 0.95, and from 0.97 to 1 the same as at the start, mirrored.
    """

    observed: Floats

    def __post_init__(self) -> None:
        ends_right = self.observed.shape == (_KNOTS,) and tuple(self.observed[[0, -1]]) == (0, 1)
        if not ends_right or not (np.diff(self.observed) >= 0.0).all():
            raise DistributionError(f"a calibration needs {_KNOTS} values that rise from 0 to 1")

    @classmethod
    def identity(cls) -> Self:
        """Changes nothing."""
        return cls(_forecasts())

    @classmethod
    def fit(cls, transforms: ArrayLike, *, towards: "Calibration | None" = None) -> Self:
        """From the forecast CDF at each validation sample's true length, float[n].

        Few samples correct little, or stay near ``towards``.
        """
        values = np.sort(np.asarray(transforms, dtype=np.float64))
        forecasts = _forecasts()
        counts = np.searchsorted(values, forecasts, side="right")
        prior = forecasts if towards is None else towards.observed
        observed = (counts + _PRIOR_SAMPLES * prior) / (values.size + _PRIOR_SAMPLES)
        observed[0], observed[-1] = 0.0, 1.0
        return cls(observed)

    def apply(self, cdf: Floats) -> Floats:
        """Corrected CDF values, in the shape of ``cdf``."""
        return np.asarray(np.interp(cdf, _forecasts(), self.observed), dtype=np.float64)


class GroupedCalibration:
    """One :class:`Calibration` per LLM and task where data allow, else per LLM, else overall.

    A code prompt and a chat prompt err differently, and so do LLMs.
    """

    def __init__(self, groups: Mapping[str, Calibration]) -> None:
        self._groups = dict(groups)

    @classmethod
    def identity(cls) -> Self:
        """Changes nothing."""
        return cls({})

    @classmethod
    def fit(cls, transforms: ArrayLike, prompts: Sequence[Prompt]) -> Self:
        """From the forecast CDF at each sample's true length, float[n], and its prompt.

        A smaller group leans on the larger one that holds it.
        """
        values = np.asarray(transforms, dtype=np.float64)
        members: dict[str, list[int]] = {}
        for row, prompt in enumerate(prompts):
            for group in _group_names(prompt):
                members.setdefault(group, []).append(row)
        groups: dict[str, Calibration] = {}
        for group in sorted(members, key=lambda name: name.count(_SEPARATOR)):
            parent = groups.get(group.rpartition(_SEPARATOR)[0], Calibration.identity())
            if len(members[group]) >= _FEWEST or not group:
                groups[group] = Calibration.fit(values[members[group]], towards=parent)
        return cls(groups)

    def apply(self, cdf: Floats, prompts: Sequence[Prompt]) -> Floats:
        """Corrected CDF rows, float64[n, B + 1], one per prompt."""
        corrected = np.empty_like(cdf)
        for row, prompt in enumerate(prompts):
            corrected[row] = self.of(prompt).apply(cdf[row])
        return corrected

    def of(self, prompt: Prompt) -> Calibration:
        """That of the smallest group that is known."""
        for group in reversed(_group_names(prompt)):
            if (known := self._groups.get(group)) is not None:
                return known
        return Calibration.identity()

    def with_group(self, llm: str, other: "GroupedCalibration") -> Self:
        """The same, with one LLM's groups from ``other`` in place of its own."""
        kept = {name: known for name, known in self._groups.items() if _llm_of(name) != llm}
        taken = {name: known for name, known in other._groups.items() if _llm_of(name) == llm}
        return type(self)({**kept, **taken})

    def to_json(self) -> dict[str, list[float]]:
        """The observed values of each group."""
        return {name: known.observed.tolist() for name, known in self._groups.items()}

    @classmethod
    def from_json(cls, groups: Mapping[str, Sequence[float]]) -> Self:
        """Inverse of :meth:`to_json`."""
        return cls({n: Calibration(np.array(v, dtype=np.float64)) for n, v in groups.items()})


def _llm_of(group: str) -> str | None:
    parts = group.split(_SEPARATOR)
    return parts[1] if len(parts) > 1 else None


def _group_names(prompt: Prompt) -> list[str]:
    """From all to the smallest."""
    if prompt.llm is None:
        return [""]
    of_llm = f"{_SEPARATOR}{prompt.llm}"
    return ["", of_llm, f"{of_llm}{_SEPARATOR}{prompt.task}"]


def _forecasts() -> Floats:
    tail = np.array((0.0, *_TAIL))
    return np.concatenate((tail, np.arange(1, 20) / 20.0, 1.0 - tail[::-1]))
