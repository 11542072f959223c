"""Judges a predictor per LLM, beside what knows nothing, the paper's Gaussian and the noise."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictor.distribution import LengthDistribution
from predictor.errors import DatasetError
from predictor.history import HistoryPredictor
from predictor.prompt import Prompt
from predictor.protocol import LengthPredictor
from training.duplicates import near_duplicates
from training.lengths import LengthRows
from training.metrics import Judged, Scores, judge, noise_ceiling

Ints = NDArray[np.int64]
Document = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Forecasts of one predictor and of the baselines for the same rows, held against them."""

    rows: LengthRows
    judged: Mapping[str, Judged]
    forecasts: Sequence[LengthDistribution]

    def document(self) -> Document:
        """``{"llms": {NAME: {...}}, "all": {...}}`` as docs/architecture.md lists the keys."""
        of_llm = {
            name: self._document(self.rows.llm_of == number)
            for number, name in enumerate(self.rows.llms)
            if (self.rows.llm_of == number).any()
        }
        everything = self._document(np.ones(len(self.rows), dtype=bool))
        if skills := [d["skill"] for d in of_llm.values() if "skill" in d]:
            everything["mean_skill"] = float(np.mean(skills))
        return {"llms": of_llm, "all": everything}

    def novel(self) -> Document:
        """The scores of all rows whose prompt has no near-duplicate among the training prompts."""
        fresh = ~near_duplicates(self.rows)[self.rows.prompt_of]
        return self._document(fresh) if fresh.any() else {}

    def scores(self, name: str, rows: NDArray[np.bool_]) -> Scores:
        """Of ``model``, ``marginal``, ``gaussian`` or ``noise_ceiling`` on some rows."""
        return self.judged[name].where(rows).scores()

    def _document(self, rows: NDArray[np.bool_]) -> Document:
        document = self._scores_of(rows)
        names = np.array(self.rows.datasets())
        document["datasets"] = {
            str(name): self._scores_of(rows & (names == name)) for name in sorted(set(names[rows]))
        }
        return document

    def _scores_of(self, rows: NDArray[np.bool_]) -> Document:
        found = {name: part.where(rows) for name, part in self.judged.items()}
        scores = {name: p.scores() for name, p in found.items() if p.seen.any()}
        document = asdict(scores.pop("model"))
        document |= {name: asdict(value) for name, value in scores.items()}
        if {"marginal", "noise_ceiling"} <= scores.keys():
            room = scores["marginal"].crps - scores["noise_ceiling"].crps
            if room > 0:
                document["skill"] = (scores["marginal"].crps - document["crps"]) / room
        return document


def evaluate(
    predictor: LengthPredictor, rows: LengthRows, *, known: LengthRows | None = None
) -> Evaluation:
    """Judge ``predictor`` on ``rows``; ``known`` are the training rows the baselines may see.

    Samples at the cap are left out, and so every forecast is taken given that the answer ends
    below it. Raises ``DatasetError`` where there is nothing to judge by.
    """
    if not len(rows) or not rows.seen.any():
        raise DatasetError("no length to judge by: this split holds no sample below the cap")
    samples = np.where(rows.seen, rows.samples, 0)
    forecasts = [
        forecast.below(int(cap) - 1)
        for forecast, cap in zip(predictor.predict(rows.requests()), rows.caps, strict=True)
    ]
    judged = {"model": judge(forecasts, samples)}
    if known is not None and len(known):
        judged["marginal"] = judge(_past(known, rows, _llm_of, gaussian=False), samples)
        judged["gaussian"] = judge(_past(known, rows, _llm_and_dataset_of, gaussian=True), samples)
    judged["noise_ceiling"] = noise_ceiling(samples)
    return Evaluation(rows, judged, forecasts)


def _llm_of(rows: LengthRows) -> list[str]:
    return [rows.llms[number] for number in rows.llm_of]


def _llm_and_dataset_of(rows: LengthRows) -> list[str]:
    return [f"{llm} {name}" for llm, name in zip(_llm_of(rows), rows.datasets(), strict=True)]


def _past(
    known: LengthRows,
    rows: LengthRows,
    group_of: Callable[[LengthRows], list[str]],
    *,
    gaussian: bool,
) -> list[LengthDistribution]:
    """What past lengths of the same group say."""
    row, column = np.nonzero(known.seen)
    groups = group_of(known)
    past = HistoryPredictor.fit(
        [Prompt("", task=groups[r]) for r in row], known.samples[row, column], gaussian=gaussian
    )
    return past.predict([Prompt("", task=group) for group in group_of(rows)])
