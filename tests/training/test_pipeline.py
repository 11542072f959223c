import hashlib
import json

import pytest

from predictor import artifact
from predictor.boosted import BoostedPredictor
from predictor.errors import ConfigError, DatasetError
from predictor.prompt import Prompt
from training.config import TrainingConfig, assignments, given, read_config
from training.pipeline import train


@pytest.fixture
def fit(tmp_path, counter):
    def run(dataset, **settings):
        config = TrainingConfig(dataset_path=dataset, threads=1, **settings)
        return train(tmp_path / "model", config, counter=lambda: counter)

    return run


@pytest.fixture
def trained(tmp_path, counter, made_up):
    stages = []

    def progress(stage, share):
        assert 0.0 <= share <= 1.0
        stages.append(stage)

    config = TrainingConfig(dataset_path=made_up, threads=1)
    result = train(tmp_path / "model", config, counter=lambda: counter, progress=progress)
    return result, list(dict.fromkeys(stages))


def test_end_to_end(trained, made_up):
    result, stages = trained
    assert stages == ["read", "words", "quantiles", "judge", "store"]
    assert sum(result.rows.values()) == 400
    document = result.evaluation.document()["all"]
    assert document["crps"] < 0.6 * document["marginal"]["crps"]
    assert document["tau_b"] > 0.6
    assert "noise_ceiling" not in document  # one answer each
    assert BoostedPredictor.from_pretrained(result.folder).predict([Prompt("Summarize topic")])
    metrics = json.loads((result.folder / "metrics.json").read_text())
    assert metrics["test"]["all"]["crps"] == document["crps"]
    data = json.loads((result.folder / "data.json").read_text())
    assert data["sha256"]["sharegpt"] == hashlib.sha256(made_up.read_bytes()).hexdigest()


def test_history_can_be_stored_instead(fit, made_up):
    assert artifact.load(fit(made_up, kind="history").folder).kind == "history"


def test_few_rows(fit, dataset, records, tmp_path):
    with pytest.raises(DatasetError, match="but 50 are needed"):
        fit(dataset(records(50)))
    assert not (tmp_path / "model").exists()


def test_one_class_and_monstrous_prompts(fit, dataset, record):
    odd = [record(1000 + i, "x" * 200_000 if i % 2 else "?", "fine " * 9) for i in range(20)]
    plain = [record(i, f"Tell me of {i}", "word " * (i % 40 + 1)) for i in range(120)]
    document = fit(dataset([*plain, *odd])).evaluation.document()
    assert document["all"]["datasets"].keys() == {"ShareGPT-chat"}


def test_lightgbm_knows_one_llm(lengths_folder, tmp_path, counter):
    config = TrainingConfig(lengths=lengths_folder, threads=1)
    with pytest.raises(ConfigError, match="llm=NAME"):
        train(tmp_path / "model", config, counter=lambda: counter)
    one = config.model_copy(update={"llm": "beta"})
    document = train(tmp_path / "model", one, counter=lambda: counter).evaluation.document()
    assert document["llms"].keys() == {"beta"}
    assert document["all"]["skill"] > 0.6


def test_settings_come_from_a_file_and_flags(tmp_path):
    file = tmp_path / "train.yaml"
    file.write_text("kind: encoder\nencoder: {epochs: 3, bins: 40}\n")
    flags = {**given(kind=None), **assignments(["encoder.epochs=5", "leave_out=[a]"])}
    config = read_config(file, flags)
    assert (config.kind, config.encoder.epochs, config.encoder.bins) == ("encoder", 5, 40)
    assert config.leave_out == ("a",)


def test_a_flag_can_take_a_setting_back(tmp_path):
    file = tmp_path / "train.yaml"
    file.write_text("encoder: {budget_minutes: 18}\n")
    config = read_config(file, assignments(["encoder.budget_minutes=null"]))
    assert config.encoder.budget_minutes is None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("kind: oracle", "kind"),
        ("encoder: {epochs: 0}", r"encoder\.epochs"),
        ("colour: red", "colour"),
        ("kind: blend\nfast: {bins: 30}", "same bins"),
        ("- a", "names and values"),
        ("a: [", "readable YAML"),
    ],
)
def test_bad_settings(tmp_path, content, says):
    file = tmp_path / "train.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=says):
        read_config(file, {})


def test_bad_assignments():
    with pytest.raises(ConfigError, match="NAME=VALUE"):
        assignments(["epochs"])
    with pytest.raises(ConfigError, match="holds no settings"):
        read_config(None, {"kind": "fast", "kind.of": 1})
