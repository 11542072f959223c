import hashlib
import json

import pytest

from predictor import artifact
from predictor.boosted import BoostedPredictor
from predictor.errors import ConfigError, DatasetError
from predictor.prompt import Prompt
from training.pipeline import train


@pytest.fixture
def trained(tmp_path, counter, made_up):
    stages = []

    def progress(stage, share):
        assert 0.0 <= share <= 1.0
        stages.append(stage)

    folder = tmp_path / "model"
    result = train(folder, counter=counter, dataset=made_up, threads=1, progress=progress)
    return result, list(dict.fromkeys(stages))


def test_end_to_end(trained, made_up):
    result, stages = trained
    assert stages == ["read", "count tokens", "words", "quantiles", "judge", "store"]
    assert sum(result.rows.values()) == 400
    ours, paper = result.scores["lightgbm"], result.scores["history-gaussian"]
    assert ours.crps < 0.6 * result.scores["history"].crps
    assert ours.tau_b > 0.6
    assert paper.rows == ours.rows == result.rows["test"]
    assert BoostedPredictor.from_pretrained(result.folder).predict([Prompt("Summarize topic")])
    metrics = json.loads((result.folder / "metrics.json").read_text())
    assert metrics["test"]["lightgbm"]["crps"] == ours.crps
    data = json.loads((result.folder / "data.json").read_text())
    assert data["dataset"]["sha256"] == hashlib.sha256(made_up.read_bytes()).hexdigest()
    assert data["tokenizer_sha256"] == "words"


def test_history_can_be_stored_instead(tmp_path, counter, made_up):
    result = train(tmp_path / "m", counter=counter, dataset=made_up, kind="history", threads=1)
    assert artifact.load(result.folder).kind == "history"


def test_few_rows(tmp_path, counter, dataset, records):
    with pytest.raises(DatasetError, match="but 50 are needed"):
        train(tmp_path / "m", counter=counter, dataset=dataset(records(50)))
    assert not (tmp_path / "m").exists()


def test_one_class_and_monstrous_prompts(tmp_path, counter, dataset, record):
    odd = [record(1000 + i, "x" * 200_000 if i % 2 else "?", "fine " * 9) for i in range(20)]
    plain = [record(i, f"Tell me of {i}", "word " * (i % 40 + 1)) for i in range(120)]
    result = train(tmp_path / "m", counter=counter, dataset=dataset([*plain, *odd]), threads=1)
    assert set(result.scores) == {"lightgbm", "history", "history-gaussian"}


def test_an_unknown_kind(tmp_path, counter, made_up):
    with pytest.raises(ConfigError, match="oracle"):
        train(tmp_path / "m", counter=counter, dataset=made_up, kind="oracle")
