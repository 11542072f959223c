"""A prompt that tells nothing, and answers whose text tells all."""

import numpy as np
import pytest

from predictor.corrected import CorrectedPredictor, Correction
from predictor.errors import ArtifactError, DatasetError
from predictor.history import HistoryPredictor
from predictor.partial import PartialAnswer
from predictor.prompt import Prompt
from predictor.protocol import LengthPredictor

ASKED = Prompt("Tell me", task="chat")


def under_way(count, seed):
    """Numbered lists go on for long, plain sentences do not."""
    rng = np.random.default_rng(seed)
    answers, rest = [], []
    for long in rng.random(count) < 0.5:
        text = "\n".join(f"{n}. point" for n in range(1, 9)) if long else "It is so. " * 8
        answers.append(PartialAnswer(ASKED, text, 32))
        rest.append(int((400 if long else 20) * rng.lognormal(0.0, 0.3)) + 1)
    return answers, np.array(rest)


@pytest.fixture(scope="module")
def base():
    lengths = np.concatenate((under_way(300, 1)[1], under_way(300, 2)[1])) + 32
    return HistoryPredictor.fit([ASKED] * len(lengths), lengths)


@pytest.fixture(scope="module")
def corrected(base):
    answers, rest = under_way(600, 3)
    correction = Correction.fit(
        answers, base.remaining(answers), rest, threads=1, progress=lambda stage, share: None
    )
    check, truth = under_way(200, 4)
    return CorrectedPredictor(base, correction.calibrated(check, base.remaining(check), truth))


def mae(forecasts, rest):
    medians = np.array([float(f.quantile(0.5)) for f in forecasts])
    return float(np.abs(medians - rest).mean())


def test_what_is_out_tells_what_is_to_come(base, corrected):
    answers, rest = under_way(200, 5)
    assert mae(corrected.remaining(answers), rest) < 0.5 * mae(base.remaining(answers), rest)
    inside = [n <= f.quantile(0.9) for f, n in zip(corrected.remaining(answers), rest, strict=True)]
    assert 0.8 < np.mean(inside) < 0.98


def test_before_anything_is_out_it_says_what_the_base_says(base, corrected):
    early = [PartialAnswer(ASKED, "", 0), PartialAnswer(ASKED, "It is", 2)]
    pairs = zip(base.remaining(early), corrected.remaining(early), strict=True)
    assert all(ours.equal(theirs) for ours, theirs in pairs)
    assert corrected.predict([ASKED])[0].equal(base.predict([ASKED])[0])
    assert corrected.remaining([]) == []


def test_max_tokens_bounds_the_rest(corrected):
    prompt = Prompt("Tell me", task="chat", max_tokens=50)
    text = under_way(1, 6)[0][0].text
    (rest,) = corrected.remaining([PartialAnswer(prompt, text, 40)])
    assert rest.quantile(1.0) <= 10
    (done,) = corrected.remaining([PartialAnswer(prompt, text, 60)])
    assert done.quantile(1.0) == 1
    (free,) = corrected.remaining([PartialAnswer(ASKED, text, 40)])
    assert rest.equal(free.truncated(10))


def test_it_comes_back_from_a_folder(corrected, tmp_path):
    corrected.save_pretrained(tmp_path / "model")
    loaded = LengthPredictor.from_pretrained(tmp_path / "model")
    answers, _ = under_way(20, 7)
    pairs = zip(loaded.remaining(answers), corrected.remaining(answers), strict=True)
    assert all(ours.equal(theirs) for ours, theirs in pairs)


def test_broken_files_are_refused(corrected):
    files = corrected.to_files()
    for broken in ({}, {**files, "corrected.json": b"{}"}, {**files, "rest_quantile_50.txt": b"x"}):
        with pytest.raises(ArtifactError):
            CorrectedPredictor.from_files(broken)


def test_a_second_correction_replaces_the_first(corrected, tmp_path):
    again = CorrectedPredictor(corrected, corrected._correction)
    again.save_pretrained(tmp_path / "model")
    assert LengthPredictor.from_pretrained(tmp_path / "model").base.kind == "history"
    with pytest.raises(ArtifactError, match="no base"):
        CorrectedPredictor.from_files(
            {**corrected.to_files(), "corrected.json": b'{"base": "corrected"}'}
        )


def test_few_answers_are_refused(base):
    answers, rest = under_way(10, 8)
    with pytest.raises(DatasetError, match="at least 50"):
        Correction.fit(answers, base.remaining(answers), rest, progress=lambda stage, share: None)
