"""Gradient-boosted quantiles of the answer's length, on cheap features of the prompt."""

import json
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from predictor.calibration import Calibration
from predictor.distribution import LengthDistribution, log_edges
from predictor.errors import ArtifactError, DatasetError, DistributionError, ModelError
from predictor.features import FEATURE_VERSION, lexical_features
from predictor.prompt import Prompt
from predictor.protocol import LengthPredictor
from predictor.text_scores import TextScores

if TYPE_CHECKING:
    from lightgbm import Booster

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Progress = Callable[[str, float], None]

MIN_ROWS = 50
LEVELS = (0.03, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97)
_BINS = 48
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
_STATE_FILE = "boosted.json"
_TEXT_FILE = "text_scores.npy"


class BoostedPredictor(LengthPredictor):
    """One LightGBM model per quantile level of the log length, joined into a CDF.

    The levels are sorted, joined by straight lines over the log length (the tail above the
    last one has the shape seen in training), read at log-spaced edges and corrected by a
    calibration. Predicting is single-threaded.
    """

    def __init__(
        self,
        *,
        boosters: Sequence["Booster"],
        text: TextScores,
        edges: Ints,
        tail: Floats,
        calibration: Calibration,
    ) -> None:
        self._boosters = tuple(boosters)
        self._text = text
        self._edges = edges
        self._tail = tail
        self._calibration = calibration

    @property
    def kind(self) -> str:
        """``lightgbm``."""
        return "lightgbm"

    @classmethod
    def fit(
        cls,
        prompts: Sequence[Prompt],
        lengths: ArrayLike,
        *,
        seed: int = 0,
        threads: int = 2,
        progress: Progress | None = None,
    ) -> Self:
        """Learn from observed lengths in tokens, one per prompt, at least 50.

        ``progress`` is told the stage and the share done, 0 to 1.
        """
        observed = _checked_lengths(prompts, lengths)
        report = progress or _silent
        report("words", 0.0)
        text, scores = TextScores.fit(prompts, observed, seed=seed)
        columns = np.column_stack((lexical_features(prompts), scores))
        parameters = {**_PARAMETERS, "seed": seed, "num_threads": threads}
        boosters = []
        for number, level in enumerate(LEVELS):
            report("quantiles", number / len(LEVELS))
            boosters.append(_booster(columns, np.log1p(observed), {**parameters, "alpha": level}))
        report("quantiles", 1.0)
        return cls(
            boosters=boosters,
            text=text,
            edges=log_edges(max(int(observed.max()), _BINS), _BINS),
            tail=_tail_offsets(boosters[-1].predict(columns), np.log1p(observed)),
            calibration=Calibration.identity(),
        )

    def calibrated(self, prompts: Sequence[Prompt], lengths: ArrayLike) -> Self:
        """The same, corrected by how its forecasts held on these prompts it did not see."""
        observed = np.asarray(lengths, dtype=np.float64)
        cdf = self._raw_cdf(prompts)
        transforms = [
            np.interp(length - 0.5, self._edges, row)
            for length, row in zip(observed, cdf, strict=True)
        ]
        return type(self)(
            boosters=self._boosters,
            text=self._text,
            edges=self._edges,
            tail=self._tail,
            calibration=Calibration.fit(transforms),
        )

    def predict(self, prompts: Sequence[Prompt]) -> list[LengthDistribution]:
        """One distribution per prompt, in order, cut at its ``max_tokens``."""
        if not prompts:
            return []
        rows = self._calibration.apply(self._raw_cdf(prompts))
        return [
            _distribution(self._edges, row, prompt.max_tokens)
            for row, prompt in zip(rows, prompts, strict=True)
        ]

    def to_files(self) -> dict[str, bytes]:
        """Everything needed to build it again, by file name."""
        state = {
            "features": FEATURE_VERSION,
            "levels": LEVELS,
            "edges": self._edges.tolist(),
            "tail": self._tail.tolist(),
            "calibration": self._calibration.observed.tolist(),
            "intercepts": self._text.intercepts.tolist(),
        }
        files = {_STATE_FILE: json.dumps(state).encode(), _TEXT_FILE: _npy(self._text.weights)}
        for level, booster in zip(LEVELS, self._boosters, strict=True):
            files[_booster_file(level)] = booster.model_to_string().encode()
        return files

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        """Inverse of :meth:`to_files`."""
        try:
            return cls._from_files(files)
        except (KeyError, TypeError, ValueError, IndexError, DistributionError) as error:
            raise ArtifactError(
                f"lightgbm predictor: {error!r}; train the predictor anew"
            ) from error

    @classmethod
    def _from_files(cls, files: Mapping[str, bytes]) -> Self:
        state = json.loads(files[_STATE_FILE])
        if state["features"] != FEATURE_VERSION or tuple(state["levels"]) != LEVELS:
            raise ArtifactError(
                "lightgbm predictor: made for other features or levels; train the predictor anew"
            )
        return cls(
            boosters=[_booster_from(files[_booster_file(level)]) for level in LEVELS],
            text=TextScores(
                weights=np.load(BytesIO(files[_TEXT_FILE]), allow_pickle=False),
                intercepts=np.array(state["intercepts"], dtype=np.float64),
            ),
            edges=np.array(state["edges"], dtype=np.int64),
            tail=np.array(state["tail"], dtype=np.float64),
            calibration=Calibration(np.array(state["calibration"], dtype=np.float64)),
        )

    def _raw_cdf(self, prompts: Sequence[Prompt]) -> Floats:
        """float64[n, bins + 1], the uncorrected CDF at the edges."""
        columns = np.column_stack((lexical_features(prompts), self._text.scores(prompts)))
        logs: Floats = np.column_stack([b.predict(columns, num_threads=1) for b in self._boosters])
        knots = _knots(logs, self._tail)
        levels = _knot_levels()
        at = np.log1p(self._edges)
        cdf = np.stack([np.interp(at, row, levels) for row in knots])
        cdf[:, 0], cdf[:, -1] = 0.0, 1.0
        return cdf


def _checked_lengths(prompts: Sequence[Prompt], lengths: ArrayLike) -> Floats:
    observed = np.asarray(lengths, dtype=np.float64)
    if observed.shape != (len(prompts),):
        raise DatasetError(
            f"{len(prompts)} prompts with lengths of shape {observed.shape}: give one per prompt"
        )
    if len(prompts) < MIN_ROWS:
        raise DatasetError(
            f"{len(prompts)} prompts to learn from: give at least {MIN_ROWS}, "
            "or use the history predictor"
        )
    return np.maximum(observed, 1.0)


def _lightgbm() -> Any:
    try:
        import lightgbm  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise ModelError(
            "the lightgbm predictor needs LightGBM: pip install 'slotwise[predictor]'"
        ) from error
    return lightgbm


def _booster(columns: Floats, logs: Floats, parameters: dict[str, Any]) -> "Booster":
    lightgbm = _lightgbm()
    return lightgbm.train(parameters, lightgbm.Dataset(columns, logs), num_boost_round=_ROUNDS)


def _booster_from(content: bytes) -> "Booster":
    lightgbm = _lightgbm()
    try:
        return lightgbm.Booster(model_str=content.decode())
    except lightgbm.basic.LightGBMError as error:
        raise ArtifactError(f"lightgbm model: {error}; train the predictor anew") from error


def _booster_file(level: float) -> str:
    return f"quantile_{round(100 * level):02d}.txt"


def _npy(values: NDArray[np.float32]) -> bytes:
    file = BytesIO()
    np.save(file, values, allow_pickle=False)
    return file.getvalue()


def _tail_offsets(highest: Floats, logs: Floats) -> Floats:
    """float64[len(_TAIL_LEVELS)]: how far (in log length) lengths lie above the last level."""
    above = (logs - highest)[logs > highest]
    if not above.size:
        return np.linspace(0.1, 0.5, len(_TAIL_LEVELS))
    offsets = np.quantile(above, _TAIL_LEVELS)
    return np.asarray(np.maximum.accumulate(np.maximum(offsets, 1e-3)), dtype=np.float64)


def _knot_levels() -> Floats:
    last = LEVELS[-1]
    return np.array([0.0, *LEVELS, *(last + (1.0 - last) * share for share in _TAIL_LEVELS)])


def _knots(logs: Floats, tail: Floats) -> Floats:
    """float64[n, knots], rising: log lengths of zero tokens, of the levels and of the tail."""
    ordered = np.maximum(np.sort(logs, axis=1), np.log(1.5))
    starts = np.zeros((len(logs), 1))
    knots = np.hstack((starts, ordered, ordered[:, -1:] + tail))
    # Equal knots would make the CDF jump; a hair apart it stays a function.
    spacing = np.arange(knots.shape[1], dtype=np.float64) * 1e-9
    return np.asarray(knots + spacing, dtype=np.float64)


def _distribution(edges: Ints, cdf: Floats, max_tokens: int | None) -> LengthDistribution:
    distribution = LengthDistribution.from_cdf(edges, cdf)
    return distribution if max_tokens is None else distribution.truncated(max_tokens)


def _silent(stage: str, share: float) -> None:
    """Nobody listens."""
    del stage, share
