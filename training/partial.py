"""Teaches a predictor to read what is out of an answer, from answers that are written."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from predictor.corrected import CorrectedPredictor, Correction
from predictor.distribution import LengthDistribution
from predictor.partial import PartialAnswer
from predictor.prompt import Prompt
from predictor.protocol import LengthPredictor
from predictor.quantiles import Progress
from training.classes import slo_class
from training.metrics import judge
from training.remaining import GENERATED
from training.sharegpt import Conversation
from training.split import Split, split_of
from training.tokens import TokenCutter

Ints = NDArray[np.int64]

_POINTS = tuple(tokens for tokens in GENERATED if tokens)
_BATCH = 512


@dataclass(frozen=True, slots=True, eq=False)
class PartialRows:
    """Answers after 32, 64, 128 and 256 tokens, and how many tokens were still to come."""

    answers: list[PartialAnswer]
    rest: Ints


@dataclass(frozen=True, slots=True)
class RemainingScores:
    """Once ``generated`` tokens are out: MAE of the median and CRPS, in tokens.

    ``plain``: given only that the answer is longer; ``corrected``: by its text as well.
    """

    generated: int
    answers: int
    plain_mae: float
    corrected_mae: float
    plain_crps: float
    corrected_crps: float
    corrected_coverage_90: float

    def document(self) -> dict[str, float]:
        """For JSON."""
        return asdict(self)


def refine(
    base: LengthPredictor,
    conversations: Sequence[Conversation],
    cutter: TokenCutter,
    *,
    seed: int = 0,
    threads: int = 2,
    progress: Progress,
) -> tuple[CorrectedPredictor, list[RemainingScores]]:
    """``base`` with a correction learned from written answers, and how it does on test ones.

    It learns from later turns of training conversations, whose forecasts are honest because
    predictors train on first turns, and is calibrated on first turns of the validation side.
    Raises ``DatasetError`` where too few answers are long enough.
    """
    # An earlier correction would stand between the base and what is learned here.
    base = base.base if isinstance(base, CorrectedPredictor) else base
    progress("answers", 0.0)
    learn = _rows(_pairs(conversations, "train", later=True), cutter)
    check = _rows(_pairs(conversations, "validation", later=False), cutter)
    progress("forecasts", 0.0)
    correction = Correction.fit(
        learn.answers,
        _plain(base, learn.answers, progress),
        learn.rest,
        seed=seed,
        threads=threads,
        progress=progress,
    )
    if check.answers:
        plain = _plain(base, check.answers, progress)
        correction = correction.calibrated(check.answers, plain, check.rest)
    test = _rows(_pairs(conversations, "test", later=False), cutter)
    plain = _plain(base, test.answers, progress)
    return CorrectedPredictor(base, correction), _scores(plain, correction, test)


def _pairs(
    conversations: Sequence[Conversation], side: Split, *, later: bool
) -> list[tuple[str, str]]:
    own = [c for c in conversations if split_of(c.base_id) == side]
    return [pair for c in own for pair in (c.pairs[1:] if later else c.pairs[:1])]


def _rows(pairs: Sequence[tuple[str, str]], cutter: TokenCutter) -> PartialRows:
    answers, rest = [], []
    cuts = cutter.cut([answer for _, answer in pairs], _POINTS)
    for (asked, _), (tokens, beginnings) in zip(pairs, cuts, strict=True):
        prompt = Prompt(asked, task=slo_class(asked))
        for out, text in beginnings.items():
            answers.append(PartialAnswer(prompt, text, out))
            rest.append(tokens - out)
    return PartialRows(answers, np.array(rest, dtype=np.int64))


def _plain(
    base: LengthPredictor, answers: Sequence[PartialAnswer], progress: Progress
) -> list[LengthDistribution]:
    found: list[LengthDistribution] = []
    for start in range(0, len(answers), _BATCH):
        progress("forecasts", start / len(answers))
        found.extend(base.remaining(answers[start : start + _BATCH]))
    return found


def _scores(
    plain: Sequence[LengthDistribution], correction: Correction, rows: PartialRows
) -> list[RemainingScores]:
    corrected = correction.apply(rows.answers, plain)
    out = np.array([answer.tokens for answer in rows.answers])
    found = []
    for generated in _POINTS:
        some = np.flatnonzero(out == generated)
        if not some.size:
            continue
        before = judge([plain[i] for i in some], rows.rest[some, None]).scores()
        after = judge([corrected[i] for i in some], rows.rest[some, None]).scores()
        found.append(
            RemainingScores(
                generated=generated,
                answers=len(some),
                plain_mae=before.mae,
                corrected_mae=after.mae,
                plain_crps=before.crps,
                corrected_crps=after.crps,
                corrected_coverage_90=after.coverage_90,
            )
        )
    return found
