import pytest

from predictor.errors import ArtifactError, PredictionError
from serving.prediction.watch import ModelWatch
from serving.predictors import predictor_stamp


class World:
    def __init__(self):
        self.stamp, self.loads, self.broken = "1", 0, False

    def read(self, source):
        assert source == "champion"
        if self.stamp is None:
            raise ArtifactError("the registry does not answer")
        return self.stamp

    async def load(self):
        self.loads += 1
        if self.broken:
            raise PredictionError("its files cannot be read")


@pytest.fixture
def world():
    return World()


@pytest.fixture
def watch(world):
    return ModelWatch("champion", world.load, period_s=1.0, stamp=world.read)


async def test_each_model_is_loaded_once(world, watch):
    await watch.look()
    await watch.look()
    assert world.loads == 1
    world.stamp = "2"
    await watch.look()
    await watch.look()
    assert world.loads == 2


async def test_what_cannot_be_loaded_is_tried_again(world, watch, caplog):
    world.broken = True
    await watch.look()
    assert "cannot be read" in caplog.text
    world.broken = False
    await watch.look()
    await watch.look()
    assert world.loads == 2


async def test_a_registry_that_was_away_at_the_start_is_asked_again(world, watch, caplog):
    world.stamp = None
    await watch.look()
    assert world.loads == 0
    assert "does not answer" in caplog.text
    world.stamp = "1"
    await watch.look()
    assert world.loads == 1


async def test_a_registry_that_is_away_later_changes_nothing(world, watch):
    await watch.look()
    world.stamp = None
    await watch.look()
    world.stamp = "1"
    await watch.look()
    assert world.loads == 1


async def test_faults_nobody_foresaw_do_not_end_the_watch(world, caplog):
    def stamp(_):
        raise KeyError("a registry's own")

    watch = ModelWatch("champion", world.load, period_s=1.0, stamp=stamp)
    await watch.look()
    assert "cannot be looked for" in caplog.text


def test_the_stamp_of_a_folder_changes_with_its_index(tmp_path):
    folder = str(tmp_path)
    before = predictor_stamp(folder)
    (tmp_path / "artifact.json").write_text("{}", encoding="utf-8")
    assert predictor_stamp(folder) != before
    assert predictor_stamp("packaged") == "packaged"
