"""An encoder and a fast path blended, on a BERT of two layers."""

import json

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from predictor.blend import BlendedPredictor, Members
from predictor.calibration import GroupedCalibration
from predictor.errors import ArtifactError, DatasetError, ModelError
from predictor.prompt import Prompt
from predictor.protocol import LengthPredictor
from training.blend import fit_blend
from training.config import TrainingConfig
from training.encoder.config import EncoderConfig
from training.evaluate import evaluate
from training.fast.config import FastConfig
from training.lengths import read_lengths
from training.onboarding import onboard, seen_prompts
from training.pipeline import train

BINS = {"bins": 40, "longest": 2048}


@pytest.fixture(scope="module")
def blended(tiny_encoder, lengths_folder, tmp_path_factory):
    """As ``slotwise train --kind blend`` makes it; the encoder has seen the prompts twice."""
    config = TrainingConfig(
        kind="blend",
        lengths=lengths_folder,
        sharegpt=False,
        encoder=EncoderConfig(
            backbone=str(tiny_encoder), head_tokens=12, tail_tokens=6, epochs=2, hidden=32,
            llm_width=8, prompts_per_batch=16, frozen_layers=0, threads=1, **BINS,
        ),
        fast=FastConfig(
            table_rows=512, hidden=32, llm_width=8, epochs=12, prompts_per_batch=16, rate=1e-2,
            **BINS,
        ),
    )  # fmt: skip
    return train(tmp_path_factory.mktemp("blend") / "model", config, counter=lambda: None)


def test_the_better_one_has_the_larger_share(blended):
    """The fast path has learned; the encoder hardly anything yet."""
    assert blended.predictor.kind == "blend"
    assert blended.predictor.members.weight < 0.5
    document = blended.evaluation.document()
    assert all(scores["skill"] > 0.5 for scores in document["llms"].values())
    assert abs(document["all"]["coverage_90"] - 0.9) < 0.07


def test_it_comes_back_from_a_folder(blended):
    loaded = LengthPredictor.from_pretrained(blended.folder)
    assert isinstance(loaded, BlendedPredictor)
    asked = [Prompt("Explain thing", llm="beta"), Prompt("Summarize", llm="beta", max_tokens=20)]
    for ours, theirs in zip(blended.predictor.predict(asked), loaded.predict(asked), strict=True):
        assert theirs.mean == pytest.approx(ours.mean, rel=0.02)
    assert loaded.predict([]) == []
    assert loaded.predict(asked)[1].edges[-1] <= 20


def test_a_damaged_state_is_refused(blended):
    files = blended.predictor.to_files()
    for state in (b"{", b"{}", json.dumps({"weight": "x", "calibration": {}}).encode()):
        with pytest.raises(ArtifactError):
            BlendedPredictor.from_files({**files, "blend.json": state})


def test_who_knows_the_llm_is_heard(blended, lengths_folder):
    """Of an LLM that only one of the two was trained with."""
    from training.fast.fit import fit_fast

    members = blended.predictor.members
    rows = read_lengths(lengths_folder).without(["gamma"])
    less = fit_fast(rows, FastConfig(epochs=1, **BINS), lambda stage, share: None)
    mixed = BlendedPredictor(Members(members.encoder, less, 0.5), GroupedCalibration.identity())
    assert mixed.llms == ("alpha", "beta", "gamma")
    asked = [Prompt("Explain thing", llm=name) for name in ("gamma", "alpha", "unheard-of")]
    ours, encoder, fast = (p.raw_cdf(asked) for p in (mixed, members.encoder, less))
    assert np.allclose(ours[0], encoder[0], atol=1e-6)
    assert np.allclose(ours[1:], (encoder[1:] + fast[1:]) / 2.0, atol=1e-6)


def test_other_bins_do_not_blend(blended, lengths_folder):
    from training.fast.fit import fit_fast

    rows = read_lengths(lengths_folder)
    other = fit_fast(rows, FastConfig(epochs=1, bins=30), lambda stage, share: None)
    with pytest.raises(ModelError, match="other bins"):
        fit_blend(blended.predictor.members.encoder, other, rows)


def test_nothing_to_weigh_by(blended, lengths_folder):
    members = blended.predictor.members
    train_alone = read_lengths(lengths_folder).of_split("train")
    with pytest.raises(DatasetError, match="validation"):
        fit_blend(members.encoder, members.fast, train_alone)


def test_a_blend_learns_a_new_llm_in_both_members(blended, lengths_writer, tmp_path):
    new = read_lengths(lengths_writer(tmp_path / "new", prompts=300, seed=5, shares={"delta": 2.0}))
    known = onboard(
        blended.predictor, seen_prompts(new.of_split("train"), 100, seed=0), llm="delta"
    )
    assert isinstance(known, BlendedPredictor)
    assert "delta" in known.members.encoder.llms
    assert "delta" in known.members.fast.llms
    test = new.of_split("test")
    before = evaluate(blended.predictor, test, known=new.of_split("train")).document()["all"]
    after = evaluate(known, test, known=new.of_split("train")).document()["all"]
    assert after["skill"] > before["skill"]
    assert abs(after["coverage_90"] - 0.9) < 0.1
    asked = [Prompt("Explain thing", llm="alpha")]
    assert blended.predictor.predict(asked)[0].equal(known.predict(asked)[0])
