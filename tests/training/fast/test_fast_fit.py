import pytest

pytest.importorskip("torch")

from predictor.errors import ArtifactError, DatasetError
from predictor.fast import FastPredictor
from predictor.prompt import Prompt
from serving.predictors import find_predictor
from training.evaluate import evaluate
from training.fast.config import FastConfig
from training.fast.fit import fit_fast
from training.lengths import read_lengths

CONFIG = FastConfig(
    table_rows=512, bins=40, longest=2048, hidden=32, llm_width=8, epochs=12, threads=1,
    prompts_per_batch=16, rate=1e-2,
)  # fmt: skip


def silent(stage, share):
    assert 0.0 <= share <= 1.0


@pytest.fixture(scope="module")
def rows(lengths_folder):
    return read_lengths(lengths_folder)


@pytest.fixture(scope="module")
def fast(rows):
    return fit_fast(rows, CONFIG, silent)


def test_it_learns(fast, rows):
    document = evaluate(fast, rows.of_split("test"), known=rows.of_split("train")).document()
    assert all(scores["skill"] > 0.7 for scores in document["llms"].values())


def test_it_comes_back(fast, tmp_path):
    asked = [Prompt("Explain thing", llm="beta"), Prompt("", llm="alpha"), Prompt("Who?")]
    fast.save_pretrained(tmp_path / "fast")
    loaded = FastPredictor.from_pretrained(tmp_path / "fast")
    for ours, theirs in zip(fast.predict(asked), loaded.predict(asked), strict=True):
        assert abs(ours.mean - theirs.mean) < 0.02 * ours.mean


@pytest.mark.parametrize("text", ["", "\ud800", "Explain " * 25_000, "x" * 200_000])
def test_odd_prompts_get_a_forecast(fast, text):
    (forecast,) = fast.predict([Prompt(text, llm="alpha")])
    assert 0 < forecast.mean < 2048


def test_an_llm_never_seen_gets_the_mixture(fast):
    text = "Explain thing number 3"
    known = fast.raw_cdf([Prompt(text, llm=name) for name in fast.llms])
    (prior,) = fast.raw_cdf([Prompt(text, llm="unheard-of")])
    assert prior == pytest.approx(known.mean(axis=0), abs=1e-6)
    assert prior != pytest.approx(known[0], abs=0.05)


def test_damaged_weights(fast):
    files = fast.to_files()
    with pytest.raises(ArtifactError):
        FastPredictor.from_files({**files, "fast.npz": files["fast.npz"][:100]})


def test_few_rows(rows):
    with pytest.raises(DatasetError, match="at least 50"):
        fit_fast(rows.where(rows.prompt_of < 10), CONFIG, silent)


def test_a_fresh_install_predicts_at_once():
    predictor = find_predictor("packaged")
    short, long = predictor.predict(
        [Prompt("Say only yes or no."), Prompt("Write a detailed 2000 word essay about Rome")]
    )
    assert short.mean < 0.7 * long.mean
