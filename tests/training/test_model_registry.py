import pytest

pytest.importorskip("mlflow")

from predictor.errors import RegistryError
from predictor.history import HistoryPredictor
from predictor.prompt import Prompt
from predictor.protocol import LengthPredictor
from training.registry import GateScores, Registry

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


@pytest.mark.parametrize(
    ("ours", "passes"),
    [((10.0, 0.9), True), ((10.1, 0.9), False), ((9.0, 0.8), False), ((9.0, 0.897), True)],
)
def test_the_gate(ours, passes):
    assert (GateScores(*ours).refusal(GateScores(10.0, 0.9)) is None) == passes
