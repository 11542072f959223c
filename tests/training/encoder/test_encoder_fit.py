"""The encoder end to end, on a BERT of two layers."""

import json
from math import nan

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from predictor.encoder.predictor import EncoderPredictor
from predictor.errors import ArtifactError, ConfigError, ModelError, TrainingError
from predictor.history import HistoryPredictor
from predictor.prompt import Prompt
from predictor.protocol import LengthPredictor
from training.config import TrainingConfig
from training.encoder.checkpoint import Checkpoints, fingerprint
from training.encoder.config import EncoderConfig
from training.encoder.fit import fit_encoder
from training.evaluate import evaluate
from training.lengths import read_lengths
from training.onboarding import onboard, seen_prompts
from training.pipeline import train


@pytest.fixture(scope="module")
def settings(tiny_encoder):
    return EncoderConfig(
        backbone=str(tiny_encoder), head_tokens=12, tail_tokens=6, epochs=20, hidden=32,
        llm_width=8, prompts_per_batch=16, encoder_rate=1e-3, head_rate=5e-3, bins=40,
        longest=2048, frozen_layers=0, average=0.9, threads=1,
    )  # fmt: skip


def fitted(rows, settings, folder, *, every_s=0.0, **changes):
    return fit_encoder(
        rows,
        None,
        settings.model_copy(update=changes),
        checkpoints=Checkpoints(folder, fingerprint="x", every_s=every_s),
        progress=lambda stage, share: None,
        on_epoch=lambda epoch: None,
    )


@pytest.fixture(scope="module")
def rows(lengths_folder):
    return read_lengths(lengths_folder)


@pytest.fixture(scope="module")
def trained(rows, settings, tmp_path_factory):
    return fitted(rows, settings, tmp_path_factory.mktemp("run"), every_s=60.0)


def test_it_learns_what_the_prompt_and_the_llm_say(trained, rows):
    found = evaluate(trained.predictor, rows.of_split("test"), known=rows.of_split("train"))
    document = found.document()
    assert all(scores["skill"] > 0.7 for scores in document["llms"].values())
    assert abs(document["all"]["coverage_90"] - 0.9) < 0.06
    assert document["all"]["datasets"].keys() == {"Made", "Up"}
    losses = [epoch.loss for epoch in trained.epochs]
    assert losses[-1] < 0.7 * losses[0]


def test_it_comes_back_from_a_folder(trained, tmp_path):
    asked = [Prompt("Explain thing", llm="beta"), Prompt("Summarize", llm="beta", max_tokens=20)]
    trained.predictor.save_pretrained(tmp_path / "model")
    loaded = LengthPredictor.from_pretrained(tmp_path / "model")
    assert isinstance(loaded, EncoderPredictor)
    before, after = trained.predictor.predict(asked), loaded.predict(asked)
    for ours, theirs in zip(before, after, strict=True):
        assert np.allclose(ours.cumulative, theirs.cumulative, atol=1e-6)
    assert after[1].edges[-1] <= 20
    assert not [f for f in (tmp_path / "model").iterdir() if f.suffix in (".pt", ".pkl", ".bin")]


def test_weights_of_another_shape_are_refused(trained, tmp_path):
    files = trained.predictor.to_files()
    state = json.loads(files["encoder.json"])
    state["llms"] = ["alpha"]
    with pytest.raises(ArtifactError, match="names"):
        EncoderPredictor.from_files({**files, "encoder.json": json.dumps(state).encode()})
    with pytest.raises(ArtifactError):
        EncoderPredictor.from_files({**files, "model.safetensors": b"nonsense"})


@pytest.mark.parametrize("text", ["", "\ud800", "Explain " * 25_000, "x" * 200_000])
def test_odd_prompts_get_a_forecast(trained, text):
    (forecast,) = trained.predictor.predict([Prompt(text, llm="alpha")])
    assert forecast.mean > 0


def test_the_middle_of_a_long_prompt_is_left_out(trained):
    long = "Explain thing " + "number " * 300 + "thing number"
    longer = "Explain thing " + "number " * 500 + "thing number"
    one, other = trained.predictor.encode([long, longer])
    assert one.shape == other.shape


def test_an_llm_never_seen_gets_the_mixture(trained):
    text = "Explain thing number 3"
    raw = trained.predictor.raw_cdf([Prompt(text, llm=n) for n in trained.predictor.llms])
    (prior,) = trained.predictor.raw_cdf([Prompt(text, llm="unheard-of")])
    assert np.allclose(prior, raw.mean(axis=0), atol=1e-6)


def test_a_run_stopped_halfway_ends_as_if_it_had_not_been(rows, settings, tmp_path):
    class StopError(Exception):
        pass

    def stopping(stage, share):
        if share > 0.6:
            raise StopError

    short = settings.model_copy(update={"epochs": 2, "frozen_layers": 1})
    whole = fitted(rows, short, tmp_path / "whole")
    checkpoints = Checkpoints(tmp_path / "halves", fingerprint="x", every_s=0.0)
    with pytest.raises(StopError):
        fit_encoder(rows, None, short, checkpoints=checkpoints, progress=stopping,
                    on_epoch=lambda epoch: None)  # fmt: skip
    resumed = fitted(rows, short, tmp_path / "halves")
    asked = [Prompt("Explain thing", llm="beta")]
    assert np.allclose(whole.predictor.raw_cdf(asked), resumed.predictor.raw_cdf(asked), atol=1e-4)
    assert len(resumed.epochs) == 2


def test_the_best_epoch_is_kept_and_the_run_ends_when_none_is_better(
    rows, settings, tmp_path, monkeypatch
):
    """Validation is best after the second of many epochs."""
    gaps, seen = iter([9.0, 5.0, 6.0, 7.0, 8.0, 8.0]), []

    def judged(run):
        seen.append({name: value.clone() for name, value in run.average.items()})
        return 0.0, next(gaps)

    monkeypatch.setattr("training.encoder.loop._Run._validated", judged)
    found = fitted(rows, settings, tmp_path, patience=2)
    assert [epoch.validation_crps_gap for epoch in found.epochs] == [9.0, 5.0, 6.0, 7.0]
    kept = dict(found.predictor.backbone.module.named_parameters())
    best, last = seen[1], seen[-1]
    name = next(name for name in best if name.startswith("backbone."))
    weight = kept[name.removeprefix("backbone.")]
    assert torch.allclose(weight, best[name])
    assert not torch.allclose(weight, last[name])


def test_validation_that_is_no_number_ends_the_run(rows, settings, tmp_path, monkeypatch):
    """Every comparison with it is false: no epoch would be the best, none would be better."""
    gaps = iter([nan, 5.0])
    monkeypatch.setattr("training.encoder.loop._Run._validated", lambda run: (0.0, next(gaps)))
    with pytest.raises(TrainingError, match="validation prompts became nan in epoch 1"):
        fitted(rows, settings, tmp_path)


def test_the_best_epoch_survives_a_stop(rows, settings, tmp_path):
    checkpoints = Checkpoints(tmp_path, fingerprint="x", every_s=0.0)
    fitted(rows, settings, tmp_path, epochs=2)
    stored = checkpoints.newest()
    assert {name for name in stored.tensors if name.startswith("best.")}


def test_a_loss_that_is_no_number_ends_the_run(rows, settings, tmp_path, monkeypatch):
    nothing = torch.tensor(float("nan"))
    monkeypatch.setattr("training.encoder.loop.likelihood", lambda *args: nothing)
    with pytest.raises(TrainingError, match="loss became nan"):
        fitted(rows, settings, tmp_path)


def test_a_full_disk_keeps_the_checkpoint_before(rows, settings, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("training.encoder.checkpoint.save_file", full)
    with pytest.raises(TrainingError, match="No space left"):
        fitted(rows, settings, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_of_other_settings_is_refused(rows, settings, tmp_path):
    fitted(rows, settings, tmp_path, epochs=1)
    other = Checkpoints(tmp_path, fingerprint="y")
    with pytest.raises(TrainingError, match="--restart"):
        other.newest()
    (tmp_path / "checkpoint.safetensors").write_bytes(b"cut")
    with pytest.raises(TrainingError, match="damaged"):
        other.newest()


def test_the_fingerprint_forgets_what_changes_no_weight(settings):
    data = {"lengths.csv": "1"}
    assert fingerprint(settings, data) == fingerprint(
        settings.model_copy(update={"threads": 2, "budget_minutes": 5.0}), data
    )
    assert fingerprint(settings, data) != fingerprint(settings, {"lengths.csv": "2"})


def test_a_budget_ends_the_run(rows, settings, tmp_path):
    found = fitted(rows, settings, tmp_path, epochs=500, budget_minutes=0.02)
    assert len(found.epochs) < 100
    assert found.predictor.predict([Prompt("Explain", llm="beta")])


def test_a_new_llm_from_a_few_prompts(lengths_writer, trained, rows, tmp_path):
    new = read_lengths(lengths_writer(tmp_path / "new", prompts=300, seed=5, shares={"delta": 2.0}))
    some = seen_prompts(new.of_split("train"), 100, seed=0)
    test = new.of_split("test")
    known = onboard(trained.predictor, some, llm="delta")
    assert known.llms[-1] == "delta"
    before = evaluate(trained.predictor, test, known=new.of_split("train")).document()["all"]
    after = evaluate(known, test, known=new.of_split("train")).document()["all"]
    assert after["skill"] > 0.6 > before["skill"]
    assert abs(after["coverage_90"] - 0.9) < 0.1
    asked = [Prompt("Explain thing", llm="alpha")]
    ours, theirs = trained.predictor.predict(asked)[0], known.predict(asked)[0]
    assert ours.equal(theirs)


def test_another_run_takes_up_a_trained_encoder(trained, rows, settings, tmp_path):
    trained.predictor.save_pretrained(tmp_path / "first")
    again = fitted(
        rows, settings, tmp_path / "run", backbone=str(tmp_path / "first"), epochs=1,
        encoder_rate=1e-12,
    )  # fmt: skip
    before, after = trained.predictor.backbone.module, again.predictor.backbone.module
    pairs = zip(before.parameters(), after.parameters(), strict=True)
    assert all(torch.allclose(ours, theirs, atol=1e-6) for ours, theirs in pairs)


def test_a_predictor_without_an_encoder_is_no_start(rows, settings, tmp_path):
    HistoryPredictor.fit([Prompt("")], [5]).save_pretrained(tmp_path / "first")
    with pytest.raises(ModelError, match="holds no encoder"):
        fitted(rows, settings, tmp_path / "run", backbone=str(tmp_path / "first"))


def test_the_pipeline_trains_and_leaves_no_checkpoint(lengths_folder, settings, tmp_path, counter):
    config = TrainingConfig(
        kind="encoder", lengths=lengths_folder, sharegpt=False, leave_out=("gamma",),
        encoder=settings.model_copy(update={"epochs": 1}),
    )  # fmt: skip
    result = train(tmp_path / "model", config, counter=lambda: counter)
    assert result.predictor.kind == "encoder"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    stored = json.loads((tmp_path / "model" / "metrics.json").read_text())
    assert stored["test"]["llms"].keys() == {"alpha", "beta"}
    assert len(stored["epochs"]) == 1


def test_an_llm_to_leave_out_must_be_there(lengths_folder, tmp_path, counter):
    config = TrainingConfig(lengths=lengths_folder, leave_out=("omega",))
    with pytest.raises(ConfigError, match="omega"):
        train(tmp_path / "model", config, counter=lambda: counter)
