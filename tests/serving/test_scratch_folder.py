import os
import tempfile

import pytest

from serving.scratch_folder import ScratchFolder


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def orphan(path):
    """As a process that was killed long ago leaves it."""
    path.mkdir()
    os.utime(path, (1, 1))
    return path


def test_orphans_of_the_same_prefix_are_deleted_and_no_others(tmp_path):
    ours, theirs = orphan(tmp_path / "engine-x"), orphan(tmp_path / "predictor-x")
    folder = ScratchFolder.new("engine-")
    assert not ours.exists()
    assert theirs.is_dir()
    assert folder.path.is_dir()


def test_a_folder_in_use_stays(tmp_path):
    living = ScratchFolder.new("engine-")
    os.utime(living.path, (1, 1))
    ScratchFolder.new("engine-").remove()
    assert list(tmp_path.iterdir()) == [living.path]
    living.remove()
    assert not living.path.exists()
