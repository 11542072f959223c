from math import inf, nan

import pytest

pytest.importorskip("mlflow")

from predictor.errors import RegistryError
from predictor.history import HistoryPredictor
from predictor.prompt import Prompt
from predictor.protocol import LengthPredictor
from training.registry import NAME, GateScores, Registry

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    return Registry(tmp_path_factory.mktemp("store") / "mlruns")


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "history"
    HistoryPredictor.fit([Prompt("a")], [10]).save_pretrained(folder)
    return folder


def add(registry, stored, crps=10.0, data="d"):
    with registry.run({"kind": "history"}, {}) as run:
        run.metrics({"test.crps": crps})
        return registry.register(
            run, stored, kind="history", scores=GateScores(crps, 0.9), data=data
        )


def test_candidate_champion_and_back(registry, stored):
    assert registry.versions() == []
    with pytest.raises(RegistryError, match="no champion"):
        registry.rollback()
    first = add(registry, stored)
    assert registry.versions()[0].aliases == ("candidate",)
    assert registry.gate() is None
    registry.promote()
    worse = add(registry, stored, crps=11.0)
    assert "worse than the champion's" in registry.gate()
    better = add(registry, stored, crps=9.0)
    assert registry.gate(better) is None
    registry.promote(better)
    assert registry.number_of("champion") == better != worse
    assert registry.rollback() == first
    with pytest.raises(RegistryError, match="first champion"):
        registry.rollback()
    with registry.folder("champion") as folder:
        assert LengthPredictor.from_pretrained(folder).kind == "history"
    with pytest.raises(RegistryError, match="no version or alias 'nobody'"):
        registry.number_of("nobody")
    add(registry, stored, data="other")
    with pytest.raises(RegistryError, match="different data"):
        registry.gate()


def test_a_failed_run_registers_nothing(registry, stored, monkeypatch):
    before = registry.versions()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("mlflow.MlflowClient.log_artifacts", full)
        with pytest.raises(RegistryError, match="Nothing was registered"):
            add(registry, stored)
    assert registry.versions() == before


def test_without_scores_nobody_is_promoted_and_no_champion_holds(tmp_path, stored):
    """The first champion included; and a score that others wrote may be anything."""
    registry = Registry(tmp_path / "mlruns")
    broken = add(registry, stored, crps=nan)
    assert registry.gate(broken) == (
        "CRPS nan is no score, its forecasts cannot be judged; train it again"
    )
    registry.promote(broken)  # as `--force` does
    better = add(registry, stored, crps=11.0)
    assert registry.gate(better) is None
    registry.promote(better)
    for value in ("none", "inf", "-3.0"):
        tell(registry, broken, crps=value)
        assert "is no score" in registry.gate(broken)
    tell(registry, better, coverage_90="")
    assert registry.gate(add(registry, stored, crps=10.0)) is None


def tell(registry, version, **tags):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=registry.uri, registry_uri=registry.uri)
    for name, value in tags.items():
        client.set_model_version_tag(NAME, version, name, value)


@pytest.mark.parametrize(
    ("ours", "passes"),
    [((10.0, 0.9), True), ((10.1, 0.9), False), ((9.0, 0.8), False), ((9.0, 0.897), True)],
)
def test_the_gate(ours, passes):
    assert (GateScores(*ours).refusal(GateScores(10.0, 0.9)) is None) == passes


@pytest.mark.parametrize("bad", [nan, inf, -inf, -1.0])
@pytest.mark.parametrize("place", [0, 1])
def test_what_is_no_score_passes_nowhere_and_holds_nobody_back(bad, place):
    good = (10.0, 0.9)
    broken = GateScores(*good[:place], bad, *good[place + 1 :])
    for champion in (GateScores(*good), broken, None):
        assert "is no score" in broken.refusal(champion)
    assert GateScores(*good).refusal(broken) is None
    worse = GateScores(11.0, 0.5)
    assert worse.refusal(broken) is not None  # the champion's other score still counts
