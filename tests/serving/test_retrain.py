"""Another LLM's lengths are a drift: a candidate is trained, gated and promoted."""

import shutil
from math import nan
from pathlib import Path

import pytest
from rich.console import Console

pytest.importorskip("mlflow")
pytest.importorskip("torch")

from predictor.errors import TrainingError
from serving.retrain import run_retraining
from training.config import TrainingConfig
from training.fast.config import FastConfig
from training.pipeline import train
from training.registry import GateScores, Registry
from training.tracking import track

pytestmark = pytest.mark.filterwarnings("ignore")

CONFIG = TrainingConfig(
    kind="fast",
    fast=FastConfig(
        table_rows=512, bins=40, longest=2048, hidden=32, llm_width=8, epochs=10,
        threads=1, prompts_per_batch=16, rate=1e-2,
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory):
    """A registry's database with its tables, which take MLflow seconds to make."""
    folder = tmp_path_factory.mktemp("store") / "mlruns"
    assert Registry(folder).versions() == []
    return folder


@pytest.fixture
def shop(tmp_path, monkeypatch, lengths_writer, empty_store):
    """A registry whose champion knows the LLM ``alpha``, and folders of lengths."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(empty_store, tmp_path / "mlruns")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    old = lengths_writer(tmp_path / "old", prompts=250, seed=1, shares={"alpha": 1.0})
    config = CONFIG.model_copy(update={"lengths": old})
    result = train(tmp_path / "first", config, counter=lambda: None)
    assert track(Registry(), config, result).refusal is None
    return old


def again(fresh, old, **changes):
    settings = {"if_drifted": True, "old_rows": 150, "output": Path("second"), **changes}
    return run_retraining(CONFIG, fresh=fresh, lengths=old, console=Console(), **settings)


def test_lengths_as_before_change_nothing(shop, lengths_writer, tmp_path):
    fresh = lengths_writer(tmp_path / "fresh", prompts=250, seed=2, shares={"alpha": 1.0})
    assert again(fresh, shop) is None
    assert len(Registry().versions()) == 1


def test_another_llm_is_a_drift_and_its_candidate_is_promoted(shop, lengths_writer, tmp_path):
    fresh = lengths_writer(tmp_path / "fresh", prompts=250, seed=3, shares={"alpha": 3.0})
    made = again(fresh, shop)
    assert made is not None
    assert made.refusal is None
    registry = Registry()
    assert registry.number_of("champion") == made.version == "2"
    assert registry.rollback() == "1"


def test_a_run_that_fails_registers_nothing(shop, lengths_writer, tmp_path, monkeypatch):
    def broken(*args, **kwargs):
        raise TrainingError("the loss became nan")

    monkeypatch.setattr("training.fast.fit.fit_fast", broken)
    fresh = lengths_writer(tmp_path / "fresh", prompts=250, seed=3, shares={"alpha": 3.0})
    with pytest.raises(TrainingError):
        again(fresh, shop)
    assert len(Registry().versions()) == 1
    assert not Path("second").exists()


def test_a_candidate_without_scores_is_no_champion_even_where_there_is_none(
    tmp_path, monkeypatch, lengths_writer
):
    config = CONFIG.model_copy(
        update={"lengths": lengths_writer(tmp_path / "old", prompts=250, shares={"alpha": 1.0})}
    )
    result = train(tmp_path / "first", config, counter=lambda: None)
    monkeypatch.setattr("training.tracking.gate_scores", lambda _: GateScores(nan, 0.9))
    registry = Registry(tmp_path / "mlruns")
    assert "CRPS nan is no score" in track(registry, config, result).refusal
    assert not registry.has("champion")
