"""Gradient-boosted quantiles of a number of tokens, joined into a CDF."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from predictor.errors import ArtifactError, ModelError

if TYPE_CHECKING:
    from lightgbm import Booster

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Progress = Callable[[str, float], None]

LEVELS = (0.03, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97)
# Where the tail above the last level has lost this share of its mass.
_TAIL_LEVELS = (0.5, 0.9, 1.0)
_ROUNDS = 200
_PARAMETERS: dict[str, Any] = {
    "objective": "quantile",
    "learning_rate": 0.06,
    "num_leaves": 15,
    "min_data_in_leaf": 40,
    "lambda_l2": 10.0,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "max_bin": 63,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}


@dataclass(frozen=True, slots=True, eq=False)
class BoostedQuantiles:
    """One LightGBM model per level of log1p(tokens); ``tail`` is the shape above the last one.

    The levels are sorted and joined by straight lines over the log. Where ``start``
    (float64[n, LEVELS], log1p of tokens) is given, the trees correct it instead of
    beginning from nothing. Predicting is single-threaded.
    """

    boosters: tuple["Booster", ...]
    tail: Floats

    @classmethod
    def fit(
        cls,
        columns: Floats,
        tokens: Floats,
        *,
        start: Floats | None = None,
        seed: int,
        threads: int,
        progress: Progress,
    ) -> Self:
        """Learn from float64[n, F] and the tokens that came, float64[n]."""
        parameters = {**_PARAMETERS, "seed": seed, "num_threads": threads}
        logs = np.log1p(tokens)
        boosters = []
        for number, level in enumerate(LEVELS):
            progress("quantiles", number / len(LEVELS))
            begun = None if start is None else np.ascontiguousarray(start[:, number])
            boosters.append(_booster(columns, logs, begun, {**parameters, "alpha": level}))
        progress("quantiles", 1.0)
        highest = np.asarray(boosters[-1].predict(columns), dtype=np.float64)
        if start is not None:
            highest = highest + start[:, -1]
        return cls(tuple(boosters), _tail_offsets(highest, logs))

    def cdf(self, columns: Floats, edges: Ints, start: Floats | None = None) -> Floats:
        """float64[n, len(edges)]: the CDF at the edges, from 0 to 1."""
        logs: Floats = np.column_stack([b.predict(columns, num_threads=1) for b in self.boosters])
        knots = _knots(logs if start is None else logs + start, self.tail)
        levels = _knot_levels()
        at = np.log1p(edges)
        cdf = np.stack([np.interp(at, row, levels) for row in knots])
        cdf[:, 0], cdf[:, -1] = 0.0, 1.0
        return cdf

    def to_files(self, prefix: str = "") -> dict[str, bytes]:
        """LightGBM's text format, one file per level; ``tail`` is for the caller to keep."""
        return {
            _file(prefix, level): booster.model_to_string().encode()
            for level, booster in zip(LEVELS, self.boosters, strict=True)
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], tail: Floats, prefix: str = "") -> Self:
        """Inverse of :meth:`to_files`; raises ``KeyError`` and ``ArtifactError``."""
        return cls(tuple(_booster_from(files[_file(prefix, level)]) for level in LEVELS), tail)


def _lightgbm() -> Any:
    try:
        import lightgbm  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise ModelError(
            "this predictor needs LightGBM: pip install 'slotwise[predictor]'"
        ) from error
    return lightgbm


def _booster(
    columns: Floats, logs: Floats, start: Floats | None, parameters: dict[str, Any]
) -> "Booster":
    lightgbm = _lightgbm()
    data = lightgbm.Dataset(columns, logs, init_score=start)
    return lightgbm.train(parameters, data, num_boost_round=_ROUNDS)


def _booster_from(content: bytes) -> "Booster":
    lightgbm = _lightgbm()
    try:
        return lightgbm.Booster(model_str=content.decode())
    except lightgbm.basic.LightGBMError as error:
        raise ArtifactError(f"lightgbm model: {error}; train the predictor anew") from error


def _file(prefix: str, level: float) -> str:
    return f"{prefix}quantile_{round(100 * level):02d}.txt"


def _tail_offsets(highest: Floats, logs: Floats) -> Floats:
    """float64[len(_TAIL_LEVELS)]: how far (in log tokens) lengths lie above the last level."""
    above = (logs - highest)[logs > highest]
    if not above.size:
        return np.linspace(0.1, 0.5, len(_TAIL_LEVELS))
    offsets = np.quantile(above, _TAIL_LEVELS)
    return np.asarray(np.maximum.accumulate(np.maximum(offsets, 1e-3)), dtype=np.float64)


def _knot_levels() -> Floats:
    last = LEVELS[-1]
    return np.array([0.0, *LEVELS, *(last + (1.0 - last) * share for share in _TAIL_LEVELS)])


def _knots(logs: Floats, tail: Floats) -> Floats:
    """float64[n, knots], rising: logs of zero tokens, of the levels and of the tail."""
    ordered = np.maximum(np.sort(logs, axis=1), np.log(1.5))
    starts = np.zeros((len(logs), 1))
    knots = np.hstack((starts, ordered, ordered[:, -1:] + tail))
    # Equal knots would make the CDF jump; a hair apart it stays a function.
    spacing = np.arange(knots.shape[1], dtype=np.float64) * 1e-9
    return np.asarray(knots + spacing, dtype=np.float64)
